fn effect(uv: vec2f) -> vec4f {
    return sample(vec2f(1.0 - uv.x, uv.y));
}
