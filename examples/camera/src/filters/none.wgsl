fn effect(uv: vec2f) -> vec4f {
    return sample(uv);
}
