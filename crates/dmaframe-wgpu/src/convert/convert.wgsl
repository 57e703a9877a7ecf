// From a frame's bytes to colours, for every format.
//
// Lines that begin with # choose what a format and a target need (see shader.rs): what is left has no branch over
// formats. Constants in capitals come from there too.

struct Params {
    // Source pixel of a target pixel p at the same scale: steps.xy * p.x + steps.zw * p.y + base.
    steps: vec4<i32>,
    base: vec2<i32>,
    // Columns and rows to fill, for compute.
    extent: vec2<i32>,
    // Source pixels that may be read: first column and row, last column and row.
    window: vec4<i32>,
    // The same of chroma samples.
    chroma_window: vec4<i32>,
    // Source point of a target point at another scale, as `steps` and `base`.
    scale: vec4<f32>,
    shift: vec2<f32>,
    // Where the filled part lies in the target.
    origin: vec2<f32>,
    // Half of the filter's width, in source pixels, and which of the pixels below it are looked at.
    radius: vec2<f32>,
    stride: vec2<i32>,
    // Half luma pixels from a chroma sample's place to the first luma sample it stands for, in chroma samples.
    siting: vec2<f32>,
    // The last column and row there are.
    last: vec2<i32>,
    // For rows in pairs: 1 if the first pair begins above the filled part.
    pair: vec2<i32>,
    unused: vec2<i32>,
    // Of each plane: first byte of the first row in its binding, bytes from row to row.
    planes: array<vec4<u32>, 3>,
    // Red, green and blue from three samples and 1.
    rows: array<vec4<f32>, 3>,
}

@group(0) @binding(0) var<uniform> params: Params;

#if BUFFERS
@group(0) @binding(1) var<storage, read> plane0: array<u32>;
#if PLANE1
@group(0) @binding(2) var<storage, read> plane1: array<u32>;
#endif
#if PLANE2
@group(0) @binding(3) var<storage, read> plane2: array<u32>;
#endif

// `plane` is a constant wherever this is called.
fn word(plane: u32, index: u32) -> u32 {
#if PLANE1
    if plane == 1u { return plane1[index]; }
#endif
#if PLANE2
    if plane == 2u { return plane2[index]; }
#endif
    return plane0[index];
}

fn byte_at(plane: u32, at: u32) -> u32 {
    return (word(plane, at >> 2u) >> ((at & 3u) << 3u)) & 0xffu;
}

// 32 bits from any byte on. What lies behind the binding's end is not used by any caller.
fn any32(plane: u32, at: u32) -> u32 {
    let low = word(plane, at >> 2u);
    let high = word(plane, (at >> 2u) + 1u);
    let bit = (at & 3u) << 3u;
    return select((low >> bit) | (high << (32u - max(bit, 1u))), low, bit == 0u);
}

#if ALIGNED
fn load16(plane: u32, at: u32) -> u32 {
    return (word(plane, at >> 2u) >> ((at & 2u) << 3u)) & 0xffffu;
}
fn load32(plane: u32, at: u32) -> u32 {
    return word(plane, at >> 2u);
}
#else
fn load16(plane: u32, at: u32) -> u32 {
    return any32(plane, at) & 0xffffu;
}
fn load32(plane: u32, at: u32) -> u32 {
    return any32(plane, at);
}
#endif

fn row_start(plane: u32, y: u32) -> u32 {
    return params.planes[plane].x + y * params.planes[plane].y;
}

// Block `index` of row `y`, as bytes from the lowest up.
fn block1(plane: u32, index: u32, y: u32) -> u32 {
    return byte_at(plane, row_start(plane, y) + index);
}
fn block2(plane: u32, index: u32, y: u32) -> u32 {
    return load16(plane, row_start(plane, y) + 2u * index);
}
fn block3(plane: u32, index: u32, y: u32) -> u32 {
    return any32(plane, row_start(plane, y) + 3u * index);
}
fn block4(plane: u32, index: u32, y: u32) -> u32 {
    return load32(plane, row_start(plane, y) + 4u * index);
}
fn block5(plane: u32, index: u32, y: u32) -> vec2<u32> {
    let at = row_start(plane, y) + 5u * index;
    return vec2<u32>(any32(plane, at), byte_at(plane, at + 4u));
}
fn block7(plane: u32, index: u32, y: u32) -> vec2<u32> {
    let at = row_start(plane, y) + 7u * index;
    return vec2<u32>(any32(plane, at), any32(plane, at + 4u));
}
fn block8(plane: u32, index: u32, y: u32) -> vec2<u32> {
    let at = row_start(plane, y) + 8u * index;
    return vec2<u32>(load32(plane, at), load32(plane, at + 4u));
}
#endif

#if TEXTURES
// texture0 to texture2 and texel0 to texel2 stand in the preamble: their types are the textures'.
fn texel(plane: u32, x: u32, y: u32) -> vec2<u32> {
#if PLANE1
    if plane == 1u { return texel1(vec2<u32>(x, y)); }
#endif
#if PLANE2
    if plane == 2u { return texel2(vec2<u32>(x, y)); }
#endif
    return texel0(vec2<u32>(x, y));
}
fn block1(plane: u32, index: u32, y: u32) -> u32 { return texel(plane, index, y).x; }
fn block2(plane: u32, index: u32, y: u32) -> u32 { return texel(plane, index, y).x; }
fn block4(plane: u32, index: u32, y: u32) -> u32 { return texel(plane, index, y).x; }
fn block8(plane: u32, index: u32, y: u32) -> vec2<u32> { return texel(plane, index, y); }
#endif

// Sample `n` of a row.
#if SAMPLES
fn sample(plane: u32, n: u32, y: u32) -> u32 {
#if BYTES
    return block1(plane, n, y);
#endif
#if WORDS
    return (block2(plane, n, y) >> SAMPLE_SHIFT) & SAMPLE_MASK;
#endif
#if LE10
    let pair = block5(plane, n >> 2u, y);
    let bit = 10u * (n & 3u);
    // The fourth straddles the words.
    return select(pair.x >> (bit & 31u), (pair.x >> 30u) | (pair.y << 2u), bit == 30u) & 0x3ffu;
#endif
#if LE10OF32
    return (block4(plane, n / 3u, y) >> (10u * (n % 3u))) & 0x3ffu;
#endif
#if CSI10
    let group = block5(plane, n >> 2u, y);
    let i = n & 3u;
    return (((group.x >> (8u * i)) & 0xffu) << 2u) | ((group.y >> (2u * i)) & 3u);
#endif
#if CSI12
    let group = block3(plane, n >> 1u, y);
    let i = n & 1u;
    return (((group >> (8u * i)) & 0xffu) << 4u) | ((group >> (16u + 4u * i)) & 15u);
#endif
#if CSI14
    let group = block7(plane, n >> 2u, y);
    let i = n & 3u;
    return (((group.x >> (8u * i)) & 0xffu) << 6u) | ((group.y >> (6u * i)) & 63u);
#endif
}
#endif

// Code values of a pixel's luma and of a chroma sample, and alpha from 0 to 1.

#if NV
fn luma(x: u32, y: u32) -> f32 {
    return f32(sample(0u, x, y));
}
fn chroma_sample(x: u32, y: u32) -> vec2<f32> {
#if BYTES
    let two = block2(1u, x, y);
    let pair = vec2<u32>(two & 0xffu, (two >> 8u) & 0xffu);
#endif
#if WORDS
    let two = block4(1u, x, y);
    let pair = vec2<u32>((two >> SAMPLE_SHIFT) & SAMPLE_MASK, (two >> (16u + SAMPLE_SHIFT)) & SAMPLE_MASK);
#endif
#if DENSE
    let pair = vec2<u32>(sample(1u, 2u * x, y), sample(1u, 2u * x + 1u, y));
#endif
#if SWAP
    return vec2<f32>(pair.yx);
#else
    return vec2<f32>(pair);
#endif
}
#endif

#if PLANAR
fn luma(x: u32, y: u32) -> f32 {
    return f32(sample(0u, x, y));
}
fn chroma_sample(x: u32, y: u32) -> vec2<f32> {
    return vec2<f32>(vec2<u32>(sample(U_PLANE, x, y), sample(V_PLANE, x, y)));
}
#endif

#if PACKED422
#if WIDE
fn part(pair: vec2<u32>, n: u32) -> f32 {
    return f32(((select(pair.x, pair.y, n > 1u) >> (16u * (n & 1u))) >> 6u) & 0x3ffu);
}
fn luma(x: u32, y: u32) -> f32 {
    return part(block8(0u, x >> 1u, y), Y_AT + 2u * (x & 1u));
}
fn chroma_sample(x: u32, y: u32) -> vec2<f32> {
    let pair = block8(0u, x, y);
    return vec2<f32>(part(pair, U_AT), part(pair, V_AT));
}
#else
fn part(pair: u32, n: u32) -> f32 {
    return f32((pair >> (8u * n)) & 0xffu);
}
fn luma(x: u32, y: u32) -> f32 {
    return part(block4(0u, x >> 1u, y), Y_AT + 2u * (x & 1u));
}
fn chroma_sample(x: u32, y: u32) -> vec2<f32> {
    let pair = block4(0u, x, y);
    return vec2<f32>(part(pair, U_AT), part(pair, V_AT));
}
#endif
#endif

#if YUV
fn matrixed(y: f32, uv: vec2<f32>) -> vec3<f32> {
    let samples = vec4<f32>(y, uv, 1.0);
    return vec3<f32>(
        params.rows[0].x * y + params.rows[0].z * uv.y + params.rows[0].w,
        dot(params.rows[1], samples),
        params.rows[2].x * y + params.rows[2].y * uv.x + params.rows[2].w,
    );
}
#endif

#if SUBSAMPLED
#if CHROMA_LINEAR
// The four chroma samples around a luma sample.
fn chroma(x: u32, y: u32) -> vec2<f32> {
    let at = vec2<f32>(vec2<u32>(x, y)) * vec2<f32>(CHROMA_X, CHROMA_Y) + params.siting;
    let low = floor(at);
    let part = at - low;
    let first = vec2<u32>(clamp(vec2<i32>(low), params.chroma_window.xy, params.chroma_window.zw));
    let second = vec2<u32>(clamp(vec2<i32>(low) + 1, params.chroma_window.xy, params.chroma_window.zw));
    let upper = mix(chroma_sample(first.x, first.y), chroma_sample(second.x, first.y), part.x);
#if HALF_ROWS
    let lower = mix(chroma_sample(first.x, second.y), chroma_sample(second.x, second.y), part.x);
    return mix(upper, lower, part.y);
#else
    return upper;
#endif
}
#else
fn chroma(x: u32, y: u32) -> vec2<f32> {
#if HALF_ROWS
    return chroma_sample(x >> 1u, y >> 1u);
#else
    return chroma_sample(x >> 1u, y);
#endif
}
#endif
fn pixel(x: u32, y: u32) -> vec4<f32> {
    return vec4<f32>(matrixed(luma(x, y), chroma(x, y)), 1.0);
}
#endif

#if FULL_CHROMA
fn pixel(x: u32, y: u32) -> vec4<f32> {
    return vec4<f32>(matrixed(luma(x, y), chroma_sample(x, y)), 1.0);
}
#endif

#if PACKED444
fn pixel(x: u32, y: u32) -> vec4<f32> {
#if THREE
    let block = block3(0u, x, y);
#else
    let block = block4(0u, x, y);
#endif
    let part = (vec4<u32>(block) >> vec4<u32>(8u * Y_AT, 8u * U_AT, 8u * V_AT, 8u * A_AT)) & vec4<u32>(0xffu);
    let alpha = select(f32(part.w) / 255.0, 1.0, OPAQUE);
    return vec4<f32>(matrixed(f32(part.x), vec2<f32>(part.yz)), alpha);
}
#endif

#if GRAY
fn pixel(x: u32, y: u32) -> vec4<f32> {
    return vec4<f32>(vec3<f32>(f32(sample(0u, x, y)) * params.rows[0].x + params.rows[0].w), 1.0);
}
#endif

#if RGB
fn channel(pair: vec2<u32>, shift: u32, bits: u32, missing: f32) -> f32 {
    if bits == 0u { return missing; }
    let mask = (1u << bits) - 1u;
    return f32((select(pair.x, pair.y, shift > 31u) >> (shift & 31u)) & mask) / f32(mask);
}
fn pixel(x: u32, y: u32) -> vec4<f32> {
#if TWO
    let pair = vec2<u32>(block2(0u, x, y), 0u);
#endif
#if THREE
    let pair = vec2<u32>(block3(0u, x, y), 0u);
#endif
#if FOUR
    let pair = vec2<u32>(block4(0u, x, y), 0u);
#endif
#if EIGHT
    let pair = block8(0u, x, y);
#endif
    return ranged(vec4<f32>(
        channel(pair, R_SHIFT, R_BITS, 0.0),
        channel(pair, G_SHIFT, G_BITS, 0.0),
        channel(pair, B_SHIFT, B_BITS, 0.0),
        channel(pair, A_SHIFT, A_BITS, 1.0),
    ));
}
#endif

#if HALF
fn pixel(x: u32, y: u32) -> vec4<f32> {
    let pair = block8(0u, x, y);
    let blue = unpack2x16float(pair.y);
    return ranged(vec4<f32>(unpack2x16float(pair.x), blue.x, select(blue.y, 1.0, OPAQUE)));
}
#endif

#if RGB HALF
fn ranged(color: vec4<f32>) -> vec4<f32> {
#if LIMITED
    return vec4<f32>(color.rgb * params.rows[0].x + params.rows[0].w, color.a);
#else
    return color;
#endif
}
#endif

#if BAYER
// A place in the mirrored picture, one outside at most: the one two further in has the same colour.
fn mirrored(i: i32, last: i32) -> u32 {
    let low = abs(i);
    return u32(clamp(select(low, 2 * last - low, low > last), 0, last));
}
fn pixel(x: u32, y: u32) -> vec4<f32> {
    let last = params.last;
    let left = mirrored(i32(x) - 1, last.x);
    let right = mirrored(i32(x) + 1, last.x);
    let above = mirrored(i32(y) - 1, last.y);
    let below = mirrored(i32(y) + 1, last.y);
    let own = f32(sample(0u, x, y));
    let sides = f32(sample(0u, left, y) + sample(0u, right, y));
    let ends = f32(sample(0u, x, above) + sample(0u, x, below));
    let corners = f32(sample(0u, left, above) + sample(0u, right, above)
        + sample(0u, left, below) + sample(0u, right, below));
    let in_red_row = (y & 1u) == RED_Y;
    let own_column = ((x & 1u) == RED_X) == in_red_row;
    // The row's own colour, green, and the other rows' colour.
    let three = select(
        vec3<f32>(sides * 0.5, own, ends * 0.5),
        vec3<f32>(own, (sides + ends) * 0.25, corners * 0.25),
        own_column,
    );
    return vec4<f32>(select(three.zyx, three, in_red_row) / f32(SAMPLE_MASK), 1.0);
}
#endif

// What the target gets of a colour.

#if TRANSFER
fn linear_of(c: f32) -> f32 {
#if TRANSFER_709
    return select(pow((c + 0.099296826) / 1.099296826, 1.0 / 0.45), c / 4.5, c < 0.081242858);
#endif
#if TRANSFER_SRGB
    return select(pow((c + 0.055) / 1.055, 2.4), c / 12.92, c <= 0.04045);
#endif
#if TRANSFER_GAMMA
    return pow(c, GAMMA);
#endif
#if TRANSFER_240
    return select(pow((c + 0.1115) / 1.1115, 1.0 / 0.45), c / 4.0, c < 0.0912863421);
#endif
#if TRANSFER_PQ
    // SMPTE ST 2084; 1 is 203 cd/m2, the white of BT.2408.
    let p = pow(c, 1.0 / 78.84375);
    return pow(max(p - 0.8359375, 0.0) / (18.8515625 - 18.6875 * p), 1.0 / 0.1593017578125) * (10000.0 / 203.0);
#endif
#if TRANSFER_HLG
    return select((exp((c - 0.55991073) / 0.17883277) + 0.28466892) / 12.0, c * c / 3.0, c <= 0.5);
#endif
#if TRANSFER_LINEAR
    return c;
#endif
}
#endif
#if ENCODE_SRGB
fn srgb_of(c: f32) -> f32 {
    return select(1.055 * pow(c, 1.0 / 2.4) - 0.055, c * 12.92, c <= 0.0031308);
}
#endif
#if DECODE_SRGB
fn decoded(c: f32) -> f32 {
    return select(pow((c + 0.055) / 1.055, 2.4), c / 12.92, c <= 0.04045);
}
#endif

fn finished(color: vec4<f32>) -> vec4<f32> {
    var c = color;
#if SATURATE
    c = saturate(c);
#endif
#if TRANSFER
    c = max(c, vec4<f32>(0.0));
    c = vec4<f32>(linear_of(c.r), linear_of(c.g), linear_of(c.b), c.a);
#endif
#if ENCODE_SRGB
    c = saturate(c);
    c = vec4<f32>(srgb_of(c.r), srgb_of(c.g), srgb_of(c.b), c.a);
#endif
#if DECODE_SRGB
    // The target's hardware encodes what it is given: these bytes come out as they went in.
    c = vec4<f32>(decoded(c.r), decoded(c.g), decoded(c.b), c.a);
#endif
    return c;
}

#if SCALED
#if SMOOTH
// A tent over the source pixels: bilinear when enlarging, and as wide as a target pixel and its neighbours when
// shrinking, so that nothing finer than the target can show is left.
fn color_at(p: vec2<f32>) -> vec4<f32> {
    let centre = params.scale.xy * p.x + params.scale.zw * p.y + params.shift;
    let first = max(vec2<i32>(ceil(centre - params.radius - 0.5)), params.window.xy);
    let last = min(vec2<i32>(floor(centre + params.radius - 0.5)), params.window.zw);
    var sum = vec4<f32>(0.0);
    var weights = 0.0;
    for (var y = first.y; y <= last.y; y += params.stride.y) {
        let row = max(1.0 - abs(f32(y) + 0.5 - centre.y) / params.radius.y, 0.0);
        for (var x = first.x; x <= last.x; x += params.stride.x) {
            let weight = row * max(1.0 - abs(f32(x) + 0.5 - centre.x) / params.radius.x, 0.0);
            sum += weight * shown(pixel(u32(x), u32(y)));
            weights += weight;
        }
    }
    return sum / max(weights, 1e-9);
}
fn shown(color: vec4<f32>) -> vec4<f32> {
#if SATURATE
    return saturate(color);
#else
    return color;
#endif
}
#else
fn color_at(p: vec2<f32>) -> vec4<f32> {
    let point = params.scale.xy * p.x + params.scale.zw * p.y + params.shift;
    let place = vec2<u32>(clamp(vec2<i32>(floor(point)), params.window.xy, params.window.zw));
    return pixel(place.x, place.y);
}
#endif
#else
fn color_at_pixel(p: vec2<i32>) -> vec4<f32> {
    let place = vec2<u32>(clamp(params.steps.xy * p.x + params.steps.zw * p.y + params.base,
        params.window.xy, params.window.zw));
    return pixel(place.x, place.y);
}
#endif

fn color_of(p: vec2<i32>) -> vec4<f32> {
#if SCALED
    return finished(color_at(vec2<f32>(p) + 0.5));
#else
    return finished(color_at_pixel(p));
#endif
}

#if RENDER
// One triangle over all of the viewport.
@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return vec4<f32>(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn fragment(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
#if SCALED
    return finished(color_at(position.xy - params.origin));
#else
    return color_of(vec2<i32>(position.xy - params.origin));
#endif
}
#endif

#if COMPUTE
@group(1) @binding(0) var target_texture: Target;

#if ROW_PAIRS
// Two rows that share their chroma in each invocation; `steps` is plus or minus 1 along each axis.
@compute @workgroup_size(GROUP_X, GROUP_Y)
fn compute(@builtin(global_invocation_id) id: vec3<u32>) {
    // The first pair may begin one row above the part.
    let p = vec2<i32>(i32(id.x), 2 * i32(id.y) - params.pair.y);
    if p.x >= params.extent.x || p.y >= params.extent.y { return; }
    let x = u32(params.steps.x * p.x + params.base.x);
    // Both in the same chroma row; one of them may be outside of the part and is then not stored.
    let y = params.steps.w * p.y + params.base.y;
    let uv = chroma(x, u32(clamp(y, params.window.y, params.window.w)));
    let samples = vec4<f32>(0.0, uv, 1.0);
    let tint = vec3<f32>(dot(params.rows[0], samples), dot(params.rows[1], samples), dot(params.rows[2], samples));
    let at = p + vec2<i32>(params.origin);
    if p.y >= 0 {
        let upper = luma(x, u32(y)) * params.rows[0].x;
        textureStore(target_texture, at, finished(vec4<f32>(tint + upper, 1.0)));
    }
    if p.y + 1 < params.extent.y {
        let lower = luma(x, u32(y + params.steps.w)) * params.rows[0].x;
        textureStore(target_texture, at + vec2<i32>(0, 1), finished(vec4<f32>(tint + lower, 1.0)));
    }
}
#else
@compute @workgroup_size(GROUP_X, GROUP_Y)
fn compute(@builtin(global_invocation_id) id: vec3<u32>) {
    let p = vec2<i32>(id.xy);
    if p.x >= params.extent.x || p.y >= params.extent.y { return; }
    textureStore(target_texture, p + vec2<i32>(params.origin), color_of(p));
}
#endif
#endif
