fn effect(uv: vec2f) -> vec4f {
    return vec4f(vec3f(luma(sample(uv).rgb)), 1.0);
}
