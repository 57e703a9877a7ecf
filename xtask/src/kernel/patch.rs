//! Small changes to the kernel (test drivers, vDSO, what is to do with User Mode Linux itself), each proved to have been made.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What is changed for one purpose.
struct Change {
    why: &'static str,
    /// In each of these files, each of these texts, which is there once, becomes the other.
    files: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    /// A file with this in it needs no change.
    unless: Option<&'static str>,
    /// Made only where this file has this in it; older kernels have not all that is changed here.
    only: Option<(&'static str, &'static str)>,
}

/// Since 6.18, the timing of vimc's sensors is in controls, as real ones' is.
const VIMC_TIMING: Option<(&str, &str)> =
    Some(("drivers/media/test-drivers/vimc/vimc-sensor.c", "V4L2_CID_VBLANK"));
/// Since then, time travel has a clock of its own for the scheduler.
const TIME_TRAVEL_CLOCK: Option<(&str, &str)> = Some(("arch/um/kernel/time.c", "tt_extra_sched_jiffies"));
/// Since then, several CPUs take turns with the process of the host that an address space is.
const TURNSTILE: Option<(&str, &str)> = Some(("arch/um/os-Linux/skas/process.c", "exit_turnstile(mm_id);"));

const CHANGES: &[Change] = &[
    Change {
        why: "drm_syncobj, with timelines, on vgem's nodes: no driver that runs without hardware has it",
        files: &[(
            "drivers/gpu/drm/vgem/vgem_drv.c",
            &[(
                "= DRIVER_GEM | DRIVER_RENDER,",
                "= DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,",
            )],
        )],
        unless: None,
        only: None,
    },
    Change {
        why: "PipeWire's v4l2 plugin cannot read a device that has an INTEGER array control",
        files: &[(
            "drivers/media/test-drivers/vivid/vivid-ctrls.c",
            &[
                (
                    "static const struct v4l2_ctrl_config vivid_ctrl_s32_array",
                    "static const struct v4l2_ctrl_config __maybe_unused vivid_ctrl_s32_array",
                ),
                (
                    "v4l2_ctrl_new_custom(hdl_user_gen, &vivid_ctrl_s32_array, NULL);",
                    "",
                ),
            ],
        )],
        unless: None,
        only: None,
    },
    Change {
        why: "rustix looks __vdso_getcpu up on x86-64, where every other kernel has it, and panics without it",
        files: &[
            (
                "arch/x86/um/vdso/um_vdso.c",
                &[(
                    "__kernel_old_time_t time(__kernel_old_time_t *t) __attribute__((weak, alias(\"__vdso_time\")));",
                    r#"__kernel_old_time_t time(__kernel_old_time_t *t) __attribute__((weak, alias("__vdso_time")));

long __vdso_getcpu(unsigned int *cpu, unsigned int *node, void *unused);
long __vdso_getcpu(unsigned int *cpu, unsigned int *node, void *unused)
{
	long ret;

	asm volatile("syscall"
		: "=a" (ret)
		: "0" (__NR_getcpu), "D" (cpu), "S" (node), "d" (unused)
		: "rcx", "r11", "memory");

	return ret;
}"#,
                )],
            ),
            (
                "arch/x86/um/vdso/vdso.lds.S",
                &[("\t\t__vdso_time;\n", "\t\t__vdso_time;\n\t\t__vdso_getcpu;\n")],
            ),
        ],
        unless: Some("__vdso_getcpu"),
        only: None,
    },
    Change {
        why: "a camera with raw pictures beside processed ones: libcamera's simple pipeline, which takes media devices by their name, \
              with its software ISP behind vimc's sensor",
        files: &[
            (
                "drivers/media/test-drivers/vimc/vimc-common.h",
                &[(
                    "extern unsigned int vimc_allocator;\n",
                    r#"extern unsigned int vimc_allocator;
extern char vimc_driver_name[32];

/* Whether sensors are as real ones: Bayer alone, in a few sizes, with nothing behind them but their captures. */
static inline bool vimc_raw_sensors(void)
{
	return vimc_driver_name[0];
}
"#,
                )],
            ),
            (
                "drivers/media/test-drivers/vimc/vimc-core.c",
                &[
                    (
                        "#define VIMC_MDEV_MODEL_NAME \"VIMC MDEV\"\n",
                        r#"char vimc_driver_name[32];
module_param_string(driver_name, vimc_driver_name, sizeof(vimc_driver_name), 0644);
MODULE_PARM_DESC(driver_name, " name that the media device reports instead of vimc, with raw sensors; read when bound");

#define VIMC_MDEV_MODEL_NAME "VIMC MDEV"
"#,
                    ),
                    (
                        "\t\tret = media_create_pad_link(ved_src->ent, link->src_pad,\n",
                        r#"		/* A pipeline that starts checks the formats of all its links, so there is none to what is not used. */
		if (vimc_raw_sensors() &&
		    link->sink_ent != RAW_CAPTURE_0 && link->sink_ent != RAW_CAPTURE_1)
			continue;

		ret = media_create_pad_link(ved_src->ent, link->src_pad,
"#,
                    ),
                    (
                        "\tvimc->mdev.dev = &pdev->dev;\n",
                        r#"	vimc->mdev.dev = &pdev->dev;
	vimc_driver_name[strcspn(vimc_driver_name, "\n")] = 0;
	strscpy(vimc->mdev.driver_name, vimc_driver_name,
		sizeof(vimc->mdev.driver_name));
"#,
                    ),
                ],
            ),
            (
                "drivers/media/test-drivers/vimc/vimc-sensor.c",
                &[
                    (
                        "\tu32 mbus_code = vimc_mbus_code_by_index(code->index);\n",
                        r#"	static const u32 raw_codes[] = {
		MEDIA_BUS_FMT_SRGGB10_1X10,
		MEDIA_BUS_FMT_SRGGB8_1X8,
	};
	u32 mbus_code = vimc_mbus_code_by_index(code->index);

	if (vimc_raw_sensors())
		mbus_code = code->index < ARRAY_SIZE(raw_codes) ? raw_codes[code->index] : 0;
"#,
                    ),
                    (
                        "\tconst struct vimc_pix_map *vpix;\n\n\tif (fse->index)\n\t\treturn -EINVAL;\n",
                        r#"	static const u32 raw_sizes[][2] = { { 1280, 960 }, { 640, 480 }, { 320, 240 } };
	const struct vimc_pix_map *vpix;

	if (vimc_raw_sensors()) {
		if (fse->index >= ARRAY_SIZE(raw_sizes) || !vimc_pix_map_by_code(fse->code))
			return -EINVAL;
		fse->min_width = fse->max_width = raw_sizes[fse->index][0];
		fse->min_height = fse->max_height = raw_sizes[fse->index][1];
		return 0;
	}

	if (fse->index)
		return -EINVAL;
"#,
                    ),
                    (
                        "\tvimc_colorimetry_clamp(fmt);\n",
                        r#"	vimc_colorimetry_clamp(fmt);
	/* The default has no colours: all bars would be black. */
	if (vimc_raw_sensors() && fmt->colorspace == V4L2_COLORSPACE_DEFAULT)
		fmt->colorspace = fmt_default.colorspace;
"#,
                    ),
                    (
                        "\tcase V4L2_CID_PIXEL_RATE:\n",
                        "\tcase V4L2_CID_EXPOSURE:\n\tcase V4L2_CID_ANALOGUE_GAIN:\n\t\t/* They are kept, and change nothing. */\n\tcase V4L2_CID_PIXEL_RATE:\n",
                    ),
                    (
                        "\tvsensor->sd.ctrl_handler = &vsensor->hdl;\n",
                        r#"	if (vimc_raw_sensors()) {
		v4l2_ctrl_new_std(&vsensor->hdl, &vimc_sensor_ctrl_ops,
				  V4L2_CID_EXPOSURE, 1, VIMC_VBLANK_MAX, 1, 1000);
		v4l2_ctrl_new_std(&vsensor->hdl, &vimc_sensor_ctrl_ops,
				  V4L2_CID_ANALOGUE_GAIN, 1, 16, 1, 1);
	}

	vsensor->sd.ctrl_handler = &vsensor->hdl;
"#,
                    ),
                ],
            ),
        ],
        unless: None,
        only: VIMC_TIMING,
    },
    Change {
        why: "CPU time in nanoseconds: the scheduler's clock has ticks of 10 ms otherwise",
        files: &[(
            "arch/um/kernel/time.c",
            &[
                (
                    "notrace unsigned long long sched_clock(void)\n{\n\treturn (unsigned long long)(jiffies",
                    "static notrace unsigned long long time_travel_sched_clock(void)\n{\n\treturn (unsigned long long)(jiffies",
                ),
                (
                    "void timer_handler(int sig, struct siginfo *unused_si, struct uml_pt_regs *regs",
                    r#"#include <linux/sched/clock.h>

notrace unsigned long long sched_clock(void)
{
	/* Set by the first call, which is early, on the only CPU. */
	static unsigned long long start;

#ifdef CONFIG_UML_TIME_TRAVEL_SUPPORT
	if (time_travel_mode != TT_MODE_OFF)
		return time_travel_sched_clock();
#endif
	if (unlikely(!start))
		start = os_nsecs();
	return os_nsecs() - start;
}

void timer_handler(int sig, struct siginfo *unused_si, struct uml_pt_regs *regs"#,
                ),
            ],
        )],
        unless: Some("os_nsecs() - "),
        only: TIME_TRAVEL_CLOCK,
    },
    Change {
        why: "the host has a limit on mappings (vm.max_map_count, 65530 as a rule), which a process with 256 MB of scattered pages \
              reaches: a page was missed without a word then, and who touched it hung. Now all are forgotten, and each comes back \
              when it is touched",
        files: &[
            (
                "arch/um/os-Linux/skas/process.c",
                &[
                    (
                        "static int unscheduled_userspace_iterations;\n",
                        r#"/* The pages are mapped again as they are touched, see handle_page_fault(). */
static void forget_mappings(struct mm_id *mm_id)
{
	mm_id->syscall_data_len = 0;
	mm_id->syscall_fd_num = 0;
	unmap(mm_id, 0, STUB_START);
}

static int unscheduled_userspace_iterations;
"#,
                    ),
                    (
                        "\t\t\terr = set_stub_state(regs, proc_data, singlestepping());\n",
                        r#"			/* A part was sent before, for want of room, and not all of it was done. */
			if (mm_id->syscall_data_len < 0)
				forget_mappings(mm_id);

			err = set_stub_state(regs, proc_data, singlestepping());
"#,
                    ),
                    (
                        "\t\t\tif (sig == SIGTRAP && proc_data->err != 0) {\n",
                        r#"			if (proc_data->err == -ENOMEM) {
				/* The process has not run yet. */
				proc_data->err = 0;
				forget_mappings(mm_id);
				exit_turnstile(mm_id);
				continue;
			}

			if (proc_data->err < 0) {
"#,
                    ),
                    (
                        "\t\t\terr = syscall_stub_flush(mm_id);\n",
                        r#"			err = syscall_stub_flush(mm_id);
			if (err == -ENOMEM) {
				forget_mappings(mm_id);
				err = syscall_stub_flush(mm_id);
			}
"#,
                    ),
                ],
            ),
            (
                "arch/um/os-Linux/skas/mem.c",
                &[(
                    "\tif (proc_data->err < 0) {\n\t\tsyscall_stub_dump_error(mm_idp);\n",
                    r#"	if (proc_data->err < 0) {
		/* As must be where there is a limit, see forget_mappings(). */
		if (proc_data->err != -ENOMEM)
			syscall_stub_dump_error(mm_idp);
"#,
                )],
            ),
            (
                "arch/um/kernel/trap.c",
                &[(
                    "\t} while (!pte_present(*pte));\n\terr = 0;\n",
                    r#"	} while (!pte_present(*pte));
	err = 0;

	/* The host may have forgotten this page, see forget_mappings(). */
	scoped_guard(spinlock_irqsave, &mm->page_table_lock) {
		if (pte_present(*pte)) {
			*pte = pte_mkneedsync(*pte);
			um_tlb_mark_sync(mm, address & PAGE_MASK,
					 (address & PAGE_MASK) + PAGE_SIZE);
		}
	}
"#,
                )],
            ),
        ],
        unless: Some("forget_mappings"),
        only: TURNSTILE,
    },
];

/// Everything that goes into the cache's key.
pub(crate) fn texts() -> impl Iterator<Item = &'static str> {
    let files = CHANGES.iter().flat_map(|change| change.files);
    files.flat_map(|(file, edits)| edits.iter().flat_map(move |(from, to)| [*file, from, to]))
}

/// Makes all changes below `source`.
pub(crate) fn apply(source: &Path) -> Result<()> {
    for change in CHANGES {
        let made = change.is_for(source);
        for (file, edits) in change.files {
            if !made {
                eprintln!("  not changed, older than what is changed there: {file}");
                continue;
            }
            let path = source.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("this kernel has no {file}"))?;
            fs::write(&path, change.edit(file, edits, text)?)?;
        }
    }
    Ok(())
}

impl Change {
    /// Whether the kernel below `source` has what this changes.
    fn is_for(&self, source: &Path) -> bool {
        self.only.is_none_or(|(file, mark)| {
            fs::read_to_string(source.join(file)).is_ok_and(|text| text.contains(mark))
        })
    }

    fn edit(&self, file: &str, edits: &[(&str, &str)], mut text: String) -> Result<String> {
        if self.unless.is_some_and(|mark| text.contains(mark)) {
            return Ok(text);
        }
        for (from, to) in edits {
            let found = text.matches(from).count();
            if found != 1 {
                bail!(
                    "{file}: the line `{from}` is there {found} times, not once: this kernel differs from the one the change was \
                     written for. Why it is needed: {}. Adapt CHANGES in xtask/src/kernel/patch.rs, or build an older source with \
                     --kernel-source",
                    self.why
                );
            }
            text = text.replacen(from, to, 1);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_line_is_an_error_that_names_it() {
        let change = &CHANGES[0];
        let (file, edits) = change.files[0];
        let (from, to) = edits[0];
        let edit = |text: String| change.edit(file, edits, text);
        assert_eq!(edit(format!("x {from} y")).unwrap(), format!("x {to} y"));
        for (text, times) in [
            ("nothing here".to_owned(), "0 times"),
            (from.repeat(2), "2 times"),
        ] {
            let error = edit(text).unwrap_err().to_string();
            assert!(error.contains("DRIVER_GEM") && error.contains(times), "{error}");
        }
    }

    /// Of a file before or after its changes, with what says that it is new enough.
    fn text(change: &Change, texts: impl Iterator<Item = &'static str>) -> String {
        let mark = change.only.map_or("", |(_, mark)| mark);
        texts.chain([mark]).collect::<Vec<_>>().join("@")
    }

    #[test]
    fn all_that_is_to_be_changed_is_changed_once() {
        let source = std::env::temp_dir().join(format!("dmaframe-source-{}", std::process::id()));
        for change in CHANGES {
            for (file, edits) in change.files {
                let path = source.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text(change, edits.iter().map(|edit| edit.0))).unwrap();
            }
        }
        apply(&source).unwrap();
        for change in CHANGES {
            for (file, edits) in change.files {
                let found = fs::read_to_string(source.join(file)).unwrap();
                assert_eq!(found, text(change, edits.iter().map(|edit| edit.1)), "{file}");
                if change.unless.is_some() {
                    assert_eq!(
                        change.edit(file, edits, found.clone()).unwrap(),
                        found,
                        "{file} again"
                    );
                }
            }
        }
        fs::remove_dir_all(&source).unwrap();
    }

    #[test]
    fn older_kernels_are_left_without_what_they_have_no_place_for() {
        let source = std::env::temp_dir().join(format!("dmaframe-patch-{}", std::process::id()));
        let old = |change: &&Change| !change.is_for(&source);
        let (file, mark) = VIMC_TIMING.unwrap();
        let path = source.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "an older vimc").unwrap();
        let left: Vec<_> = CHANGES.iter().filter(old).collect();
        assert!(!left.is_empty() && left.iter().all(|change| change.only.is_some()));
        fs::write(&path, format!("case {mark}:")).unwrap();
        let vimc = |change: &&Change| change.only == VIMC_TIMING;
        assert!(CHANGES.iter().filter(vimc).all(|change| change.is_for(&source)));
        fs::remove_dir_all(&source).unwrap();
    }
}
