fn effect(uv: vec2f) -> vec4f {
    let from_center = distance(uv, vec2f(0.5));
    return vec4f(sample(uv).rgb * (1.0 - smoothstep(0.35, 0.8, from_center)), 1.0);
}
