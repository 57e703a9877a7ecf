fn effect(uv: vec2f) -> vec4f {
    return vec4f(luma(sample(uv).rgb) * vec3f(1.2, 1.0, 0.8), 1.0);
}
