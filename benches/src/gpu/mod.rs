//! Frames to a GPU and back, by every route, in GB/s and as a share of the bare copy of the same bytes.

mod clock;
mod frames;
mod plain;
mod versions;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use dmaframe_alloc::MAX_SLOTS;
use dmaframe_core::{Fourcc, Layout, Size};
use dmaframe_wgpu::v30::{Gpu, open_device, wgpu};

use crate::machine;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only rows whose name contains this
    #[arg(default_value = "")]
    only: String,
    /// Picture heights
    #[arg(long, value_delimiter = ',', default_values_t = [1080, 2160, 4320])]
    heights: Vec<u32>,
    /// Milliseconds a round lasts; there are seven
    #[arg(long, default_value_t = 150)]
    round_ms: u64,
    /// Submissions that may be under way
    #[arg(long, default_value_t = 4)]
    ahead: usize,
    /// Megabytes of frames that go up in turn. A camera's frames come from memory, where the device wrote them: more than a CPU's
    /// caches hold, but no more than a quarter of what is free
    #[arg(long, default_value_t = 1024)]
    turn_mb: u64,
}

/// What is moved.
pub(crate) struct Picture {
    pub(crate) fourcc: Fourcc,
    pub(crate) size: Size,
    /// Tight.
    pub(crate) bytes: u64,
}

/// The device.
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    pub(crate) round: Duration,
    /// Submissions that may be under way.
    pub(crate) ahead: usize,
    /// Bytes of frames that go up in turn.
    turn: u64,
    flying: Mutex<VecDeque<wgpu::SubmissionIndex>>,
}

impl Bench {
    fn open(options: &Options) -> Result<Self, String> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let preference = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&preference)).map_err(|e| e.to_string())?;
        let info = adapter.get_info();
        println!("GPU: {}, {} {}", info.name, info.driver, info.driver_info);
        let desc = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            // To copy from memory of the kind that is read back into: system memory, where the other kind is the GPU's.
            required_features: adapter.features() & wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
            ..Default::default()
        };
        let gpu = open_device(&adapter, &desc).map_err(|e| e.to_string())?;
        println!("synchronisation: {}", gpu.level());
        let turn = (options.turn_mb << 20).min(machine::free_memory() / 4);
        println!("frames in turn: {} MB", turn >> 20);
        Ok(Self {
            gpu,
            round: Duration::from_millis(options.round_ms),
            ahead: options.ahead,
            turn,
            flying: Mutex::default(),
        })
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        self.gpu.device()
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        self.gpu.queue()
    }

    /// How many frames go up in turn, at least a camera's.
    pub(crate) fn in_turn(&self, picture: &Picture) -> usize {
        let wanted = usize::try_from(self.turn / picture.bytes).unwrap_or(MAX_SLOTS);
        wanted.clamp(frames::SLOTS, MAX_SLOTS)
    }

    /// Waits until the GPU is idle.
    pub(crate) fn wait(&self) -> Result<(), String> {
        self.flying.lock().map_err(|e| e.to_string())?.clear();
        let all = wgpu::PollType::wait_indefinitely();
        self.gpu.device().poll(all).map(drop).map_err(|e| e.to_string())
    }

    /// Lets a few submissions be under way, not more.
    pub(crate) fn keep_up(&self, index: wgpu::SubmissionIndex) -> Result<(), String> {
        let mut flying = self.flying.lock().map_err(|e| e.to_string())?;
        flying.push_back(index);
        if flying.len() <= self.ahead {
            return Ok(());
        }
        let oldest = wgpu::PollType::Wait {
            submission_index: flying.pop_front(),
            timeout: None,
        };
        self.gpu
            .device()
            .poll(oldest)
            .map(drop)
            .map_err(|e| e.to_string())
    }
}

/// One row: a name, what its share is of, and the work.
struct Row {
    name: &'static str,
    /// The row that is 100 %.
    of: Option<&'static str>,
    seconds: fn(&Bench, &Picture) -> Result<f64, String>,
}

const UP: &str = "bare copy, host to GPU";
const DOWN: &str = "bare copy, GPU to host";
const PLAIN: &str = "queue.write_texture";
const ACROSS: &str = "bare copy, GPU to GPU";

const ROWS: &[Row] = &[
    Row {
        name: UP,
        of: None,
        seconds: plain::bare_up,
    },
    Row {
        name: DOWN,
        of: None,
        seconds: plain::bare_down,
    },
    Row {
        name: "bare copy, host to GPU, a submission each",
        of: Some(UP),
        seconds: plain::bare_up_each,
    },
    Row {
        name: ACROSS,
        of: None,
        seconds: plain::bare_across,
    },
    Row {
        name: PLAIN,
        of: Some(UP),
        seconds: versions::v30::from_frames,
    },
    Row {
        name: "queue.write_texture, wgpu 29",
        of: Some(UP),
        seconds: versions::v29::from_frames,
    },
    Row {
        name: "queue.write_texture, wgpu 28",
        of: Some(UP),
        seconds: versions::v28::from_frames,
    },
    Row {
        name: "queue.write_texture, out of the CPU's caches",
        of: Some(UP),
        seconds: versions::v30::same_bytes,
    },
    Row {
        name: "to_vec, Arc<[u8]>, queue.write_texture",
        of: Some(UP),
        seconds: versions::v30::copied_out,
    },
    Row {
        name: "the same, wgpu 28",
        of: Some(UP),
        seconds: versions::v28::copied_out,
    },
    Row {
        name: "copy, map and memcpy into a Vec",
        of: Some(DOWN),
        seconds: plain::read_back,
    },
    Row {
        name: "Importer: buffer (udmabuf)",
        of: Some(UP),
        seconds: frames::buffer,
    },
    Row {
        name: "Importer: host pointer (memfd)",
        of: Some(UP),
        seconds: frames::host_pointer,
    },
    Row {
        name: "Importer: host pointer, four together",
        of: Some(UP),
        seconds: frames::host_pointer_together,
    },
    Row {
        name: "Importer: upload ring",
        of: Some(UP),
        seconds: frames::upload,
    },
    Row {
        name: "ExportPool: host pointer (memfd)",
        of: Some(DOWN),
        seconds: frames::export,
    },
    Row {
        name: "ExportPool: readback",
        of: Some(DOWN),
        seconds: frames::read_back,
    },
];

/// Measures and prints.
pub(crate) fn measure(options: &Options) {
    machine::print();
    let bench = match Bench::open(options) {
        Ok(bench) => bench,
        Err(why) => return println!("no GPU: {why}"),
    };
    for &height in &options.heights {
        for fourcc in [Fourcc::NV12, Fourcc::ABGR8888] {
            let size = Size::new(height * 16 / 9, height);
            match Layout::tight(fourcc, size) {
                Ok(layout) => table(
                    &bench,
                    &Picture {
                        fourcc,
                        size,
                        bytes: layout.tight_len(),
                    },
                    &options.only,
                ),
                Err(error) => println!("{fourcc} {size}: {error}"),
            }
        }
    }
}

fn table(bench: &Bench, picture: &Picture, only: &str) {
    let mut table = Table::new();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled);
    let megabytes = picture.bytes as f64 / 1e6;
    table.set_header(vec![
        format!("{} {} ({megabytes:.1} MB)", picture.fourcc, picture.size),
        "ms a frame".into(),
        "GB/s".into(),
        "of the bare copy".into(),
        "times write_texture".into(),
    ]);
    let wanted = |row: &&Row| row.of.is_none() || row.name == PLAIN || row.name.contains(only);
    let rows = ROWS.iter().filter(wanted);
    let measured: Vec<_> = rows.map(|row| (row, (row.seconds)(bench, picture))).collect();
    let seconds = |name: &str| {
        let found = measured.iter().find(|(row, _)| row.name == name);
        found.and_then(|(_, seconds)| seconds.as_ref().ok()).copied()
    };
    let mut notes = Vec::new();
    for (row, result) in &measured {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut cells = vec![Cell::new(row.name)];
        match result {
            Ok(took) => {
                cells.push(right(format!("{:.3}", took * 1e3)));
                cells.push(right(format!("{:.1}", picture.bytes as f64 / took / 1e9)));
                let share = row.of.and_then(seconds).map(|whole| whole / took * 100.0);
                cells.push(right(
                    share.map_or(String::new(), |share| format!("{share:.0} %")),
                ));
                // In the bare copy's row: what the bus allows.
                let up = row.name == UP || row.of == Some(UP);
                let times = seconds(PLAIN).filter(|_| up).map(|plain| plain / took);
                cells.push(right(times.map_or(String::new(), |times| format!("{times:.1}"))));
            }
            Err(why) => {
                notes.push(why);
                cells.push(Cell::new(format!("not run ({})", notes.len())));
            }
        }
        table.add_row(cells);
    }
    println!("\n{table}");
    for (number, why) in (1..).zip(notes) {
        println!("({number}) {why}");
    }
}
