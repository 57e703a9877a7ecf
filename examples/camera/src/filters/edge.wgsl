// Sobel's two gradients of brightness.
fn near(uv: vec2f, x: f32, y: f32) -> f32 {
    return luma(sample(uv + vec2f(x, y) / frame.size).rgb);
}

fn effect(uv: vec2f) -> vec4f {
    let across = near(uv, 1.0, -1.0) + 2.0 * near(uv, 1.0, 0.0) + near(uv, 1.0, 1.0)
        - near(uv, -1.0, -1.0) - 2.0 * near(uv, -1.0, 0.0) - near(uv, -1.0, 1.0);
    let down = near(uv, -1.0, 1.0) + 2.0 * near(uv, 0.0, 1.0) + near(uv, 1.0, 1.0)
        - near(uv, -1.0, -1.0) - 2.0 * near(uv, 0.0, -1.0) - near(uv, 1.0, -1.0);
    return vec4f(vec3f(length(vec2f(across, down))), 1.0);
}
