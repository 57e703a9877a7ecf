// A texture into the rows of a linear picture. Every word of a row is written by exactly one invocation, so that the
// stores are whole: a row's last word may reach into its padding, which belongs to the row.

struct Params {
    // Columns and rows.
    size: vec2<u32>,
    // In words: the first row's start and the distance of rows, for each plane.
    first: vec2<u32>,
    second: vec2<u32>,
    third: vec2<u32>,
    // Bit 0: blue first. Bit 1: no alpha, the byte is 255. Bit 2: chroma on the left column. Bit 3: chroma on the
    // upper row. Bit 4: V before U. Bit 5: chroma on the lower row.
    flags: u32,
    // Code values from RGB in 0..1: a row each for Y, Cb, Cr, the offset in w.
    y: vec4<f32>,
    cb: vec4<f32>,
    cr: vec4<f32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var picture: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

const BLUE_FIRST: u32 = 1u;
const OPAQUE: u32 = 2u;
const LEFT: u32 = 4u;
const TOP: u32 = 8u;
const V_FIRST: u32 = 16u;
const BOTTOM: u32 = 32u;

fn has(flag: u32) -> bool {
    return (params.flags & flag) != 0u;
}

// The pixel, or the nearest one there is: of the picture, and of a texture that is smaller.
fn pixel(x: i32, y: i32) -> vec4<f32> {
    let last = vec2<i32>(min(params.size, textureDimensions(picture))) - 1;
    return textureLoad(picture, clamp(vec2<i32>(x, y), vec2<i32>(0), last), 0);
}

// Four bytes a pixel.
@compute @workgroup_size(16, 8)
fn rgb(@builtin(global_invocation_id) id: vec3<u32>) {
    if (any(id.xy >= params.size)) {
        return;
    }
    var color = pixel(i32(id.x), i32(id.y));
    if (has(BLUE_FIRST)) {
        color = color.bgra;
    }
    if (has(OPAQUE)) {
        color.a = 1.0;
    }
    words[params.first.x + id.y * params.first.y + id.x] = pack4x8unorm(color);
}

fn code(row: vec4<f32>, color: vec3<f32>) -> f32 {
    return dot(row.xyz, color) + row.w;
}

// Code values 0..255 as bytes, the first lowest.
fn bytes(values: vec4<f32>) -> u32 {
    let whole = vec4<u32>(clamp(values, vec4<f32>(0.0), vec4<f32>(255.0)) + 0.5);
    return whole.x | (whole.y << 8u) | (whole.z << 16u) | (whole.w << 24u);
}

// Five neighbours of a row: one before, and the four of a word.
struct Five {
    before: vec3<f32>,
    a: vec3<f32>,
    b: vec3<f32>,
    c: vec3<f32>,
    d: vec3<f32>,
}

fn five(x: i32, y: i32) -> Five {
    var row: Five;
    row.a = pixel(x, y).rgb;
    row.b = pixel(x + 1, y).rgb;
    row.c = pixel(x + 2, y).rgb;
    row.d = pixel(x + 3, y).rgb;
    row.before = row.a;
    if (has(LEFT)) {
        row.before = pixel(x - 1, y).rgb;
    }
    return row;
}

fn luma(row: Five) -> u32 {
    return bytes(vec4<f32>(code(params.y, row.a), code(params.y, row.b), code(params.y, row.c), code(params.y, row.d)));
}

// The two chroma columns of a row's four pixels, as colours.
struct Two {
    first: vec3<f32>,
    second: vec3<f32>,
}

fn columns(row: Five) -> Two {
    if (has(LEFT)) {
        return Two(0.25 * (row.before + 2.0 * row.a + row.b), 0.25 * (row.b + 2.0 * row.c + row.d));
    }
    return Two(0.5 * (row.a + row.b), 0.5 * (row.c + row.d));
}

// Two rows of four pixels: writes their luma and gives their chroma as two pairs of code values.
fn block(x: u32, y: u32) -> vec4<f32> {
    let at = vec2<i32>(i32(4u * x), i32(2u * y));
    let upper = five(at.x, at.y);
    let lower = five(at.x, at.y + 1);
    let place = params.first.x + 2u * y * params.first.y + x;
    words[place] = luma(upper);
    if (2u * y + 1u < params.size.y) {
        words[place + params.first.y] = luma(lower);
    }
    let one = columns(upper);
    let two = columns(lower);
    var first = 0.5 * (one.first + two.first);
    var second = 0.5 * (one.second + two.second);
    if (has(TOP)) {
        let above = columns(five(at.x, at.y - 1));
        first = 0.25 * (above.first + 2.0 * one.first + two.first);
        second = 0.25 * (above.second + 2.0 * one.second + two.second);
    }
    if (has(BOTTOM)) {
        let below = columns(five(at.x, at.y + 2));
        first = 0.25 * (one.first + 2.0 * two.first + below.first);
        second = 0.25 * (one.second + 2.0 * two.second + below.second);
    }
    return vec4<f32>(
        code(params.cb, first), code(params.cr, first), code(params.cb, second), code(params.cr, second));
}

// Luma, and interleaved chroma of half the size: four columns of two rows an invocation.
@compute @workgroup_size(16, 8)
fn nv12(@builtin(global_invocation_id) id: vec3<u32>) {
    if (any(id.xy * vec2<u32>(4u, 2u) >= params.size)) {
        return;
    }
    var chroma = block(id.x, id.y);
    if (has(V_FIRST)) {
        chroma = chroma.yxwz;
    }
    words[params.second.x + id.y * params.second.y + id.x] = bytes(chroma);
}

// Three planes: eight columns of two rows an invocation.
@compute @workgroup_size(16, 8)
fn planar(@builtin(global_invocation_id) id: vec3<u32>) {
    if (any(id.xy * vec2<u32>(8u, 2u) >= params.size)) {
        return;
    }
    let near = block(2u * id.x, id.y);
    var far = near;
    if (8u * id.x + 4u < params.size.x) {
        far = block(2u * id.x + 1u, id.y);
    }
    var u = vec4<f32>(near.xz, far.xz);
    var v = vec4<f32>(near.yw, far.yw);
    if (has(V_FIRST)) {
        u = v;
        v = vec4<f32>(near.xz, far.xz);
    }
    words[params.second.x + id.y * params.second.y + id.x] = bytes(u);
    words[params.third.x + id.y * params.third.y + id.x] = bytes(v);
}

// Luma and chroma in one plane, chroma of half the width: two columns an invocation.
@compute @workgroup_size(16, 8)
fn yuyv(@builtin(global_invocation_id) id: vec3<u32>) {
    if (any(id.xy * vec2<u32>(2u, 1u) >= params.size)) {
        return;
    }
    let at = vec2<i32>(i32(2u * id.x), i32(id.y));
    let a = pixel(at.x, at.y).rgb;
    let b = pixel(at.x + 1, at.y).rgb;
    var chroma = 0.5 * (a + b);
    if (has(LEFT)) {
        chroma = 0.25 * (pixel(at.x - 1, at.y).rgb + 2.0 * a + b);
    }
    words[params.first.x + id.y * params.first.y + id.x] =
        bytes(vec4<f32>(code(params.y, a), code(params.cb, chroma), code(params.y, b), code(params.cr, chroma)));
}
