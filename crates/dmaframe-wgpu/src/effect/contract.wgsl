// What an effect is written against. It comes behind the effect's own text, so that the compiler's line numbers are the
// effect's. An effect is `fn effect(uv: vec2f) -> vec4f`: the colour at `uv`, (0, 0) upper left and (1, 1) lower right.
// Colours are R'G'B' from 0 to 1, as the camera encodes them.

struct Frame {
    // Columns and rows of what is drawn.
    size: vec2f,
    // Seconds, from wherever the application counts.
    time: f32,
    unused: f32,
}

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var frame_picture: texture_2d<f32>;
@group(0) @binding(2) var frame_sampler: sampler;

// The picture at `uv`; beyond the edge, the edge.
fn sample(uv: vec2f) -> vec4f {
    return textureSampleLevel(frame_picture, frame_sampler, uv, 0.0);
}

// Brightness of a colour (BT.709's weights).
fn luma(color: vec3f) -> f32 {
    return dot(color, vec3f(0.2126, 0.7152, 0.0722));
}

@vertex
fn frame_corner(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn frame_pixel(@builtin(position) at: vec4f) -> @location(0) vec4f {
    return effect(at.xy / frame.size);
}
