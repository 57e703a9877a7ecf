//! What an examination found: plain data, the same as the JSON of `dmaframe doctor --json`.

use serde::Serialize;

/// Everything that was found. Prints itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// This crate's version.
    pub version: String,
    /// The kernel.
    pub system: System,
    /// Who is asking, and from inside what.
    pub sandbox: Sandbox,
    /// What makes memory.
    pub allocators: Vec<AllocatorReport>,
    /// What captures.
    pub cameras: Vec<CameraReport>,
    /// DRM nodes.
    pub drm: Vec<DrmNode>,
    /// Vulkan devices.
    pub gpus: Vec<GpuReport>,
    /// Fences, each kind tried.
    pub fences: Vec<FenceReport>,
    /// Media daemons and libraries.
    pub daemons: Vec<Daemon>,
    /// What is missing, why, and what would help.
    pub problems: Vec<Problem>,
    /// What follows: which way frames take.
    pub verdicts: Vec<Verdict>,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct System {
    /// Its release.
    pub kernel: String,
    /// The processor.
    pub machine: String,
}

/// Who is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sandbox {
    /// `none`, `flatpak`, `snap`, `container`.
    pub kind: String,
    /// The application in it, where it has a name.
    pub app: Option<String>,
    /// Whether a flatpak was given devices (`devices=all` or `dri`).
    pub devices: Option<String>,
    /// Effective user.
    pub uid: u32,
    /// Names (or numbers) of the groups.
    pub groups: Vec<String>,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// What it is about: a device, a route.
    pub object: String,
    /// Why it does not work.
    pub reason: String,
    /// What would help.
    pub remedy: String,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// Whether it worked, down to the bytes.
    pub works: bool,
    /// What it gave, or why it did not work.
    pub detail: String,
}

impl Attempt {
    pub(super) fn of<E: std::fmt::Display>(what: impl Into<String>, result: Result<String, E>) -> Self {
        let what = what.into();
        match result {
            Ok(detail) => Self {
                what,
                works: true,
                detail,
            },
            Err(why) => Self {
                what,
                works: false,
                detail: why.to_string(),
            },
        }
    }
}

/// One allocator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AllocatorReport {
    /// Its name.
    pub name: String,
    /// Whether it made a buffer that could be written and read back.
    pub works: bool,
    /// What the memory is made of.
    pub memory: Option<String>,
    /// Most bytes of one buffer, where there is a limit.
    pub max_object_len: Option<u64>,
    /// Why it does not work.
    pub problem: Option<String>,
}

/// One capture device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CameraReport {
    /// Its node.
    pub node: String,
    /// Its driver.
    pub driver: String,
    /// Its name for people.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Whether it speaks the multi-planar API.
    pub multiplanar: bool,
    /// What it offers, as V4L2 spells it.
    pub formats: Vec<String>,
    /// The format frames were captured in.
    pub tried: Option<String>,
    /// Its own buffers, captured into and exported.
    pub export: Option<Attempt>,
    /// Allocators' buffers, captured into.
    pub imports: Vec<Attempt>,
}

/// One node of `/dev/dri`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrmNode {
    /// Its path.
    pub node: String,
    /// Its driver, where it could be opened.
    pub driver: Option<String>,
}

/// One Vulkan device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GpuReport {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Discrete, integrated, CPU ...
    pub kind: String,
    /// Vulkan's version.
    pub api: String,
    /// Its DRM nodes, as `major:minor`.
    pub nodes: Vec<String>,
    /// The extensions of those that matter here that it has.
    pub extensions: Vec<String>,
    /// Those that it has not.
    pub missing_extensions: Vec<String>,
    /// Whether work can wait for a sync_file, by the driver's word.
    pub waits_for_fences: bool,
    /// Formats and their modifiers.
    pub formats: Vec<FormatRow>,
    /// Frames that were given to it, each by every route.
    pub imports: Vec<ImportReport>,
    /// What it makes for others.
    pub exports: Vec<Attempt>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormatRow {
    /// The format.
    pub fourcc: String,
    /// Its modifiers: name, memory planes, and what an image with it is good for.
    pub modifiers: Vec<ModifierRow>,
}

/// One modifier of a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModifierRow {
    /// The modifier.
    pub modifier: String,
    /// Memory planes.
    pub planes: u32,
    /// Whether shaders sample it.
    pub sampled: bool,
    /// Whether it is a render target.
    pub rendered: bool,
    /// Whether the driver imports a dma-buf with it.
    pub imported: bool,
}

/// A frame given to a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// The memory it was in.
    pub memory: String,
    /// Format and size.
    pub format: String,
    /// Every route, tried; `works` means that the GPU read every byte right.
    pub routes: Vec<Attempt>,
}

/// One kind of fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FenceReport {
    /// The kind.
    pub kind: String,
    /// Whether it worked.
    pub works: bool,
    /// What was seen, or why it did not work.
    pub detail: String,
}

/// A media daemon or library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Daemon {
    /// Its name.
    pub name: String,
    /// Whether it answered, or is installed.
    pub found: bool,
    /// Its version.
    pub version: Option<String>,
    /// Where it was found, or why not.
    pub detail: String,
}

/// Which way frames take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Where they come from.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// What it costs.
    pub cost: VerdictCost,
    /// How.
    pub way: String,
    /// Why it is not better: ways that were tried first.
    pub reasons: Vec<String>,
    /// What would make it better.
    pub remedies: Vec<String>,
}

/// What passing a frame costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictCost {
    /// The same memory on both sides.
    ZeroCopy,
    /// A device copies.
    GpuCopy,
    /// The CPU copies.
    CpuCopy,
    /// It cannot be done.
    None,
}

impl std::fmt::Display for VerdictCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ZeroCopy => "zero-copy",
            Self::GpuCopy => "GPU copy",
            Self::CpuCopy => "CPU copy",
            Self::None => "not possible",
        })
    }
}

impl Report {
    /// The report as JSON, indented.
    ///
    /// # Errors
    /// [`Error::Json`](super::Error::Json), which plain data does not give.
    pub fn to_json(&self) -> Result<String, super::Error> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}
