// Hard black and white, dark at the corners, with moving grain.
fn effect(uv: vec2f) -> vec4f {
    let hard = smoothstep(0.15, 0.75, luma(sample(uv).rgb));
    let corner = 1.0 - 0.7 * dot(uv - 0.5, uv - 0.5);
    let grain = fract(sin(dot(uv + fract(frame.time), vec2f(12.9898, 78.233))) * 43758.5453);
    return vec4f(vec3f(hard * corner + 0.06 * (grain - 0.5)), 1.0);
}
