// 64 squares across.
fn effect(uv: vec2f) -> vec4f {
    let squares = vec2f(64.0, max(1.0, round(64.0 * frame.size.y / frame.size.x)));
    return sample((floor(uv * squares) + 0.5) / squares);
}
