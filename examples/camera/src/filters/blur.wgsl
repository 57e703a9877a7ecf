// The mean of 81 pixels, two apart.
fn effect(uv: vec2f) -> vec4f {
    var sum = vec3f(0.0);
    for (var y = -4; y <= 4; y++) {
        for (var x = -4; x <= 4; x++) {
            sum += sample(uv + 2.0 * vec2f(f32(x), f32(y)) / frame.size).rgb;
        }
    }
    return vec4f(sum / 81.0, 1.0);
}
