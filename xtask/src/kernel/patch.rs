//! Small changes to the kernel (test drivers, vDSO), each proved to have been made.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One replacement in one file.
struct Patch {
    file: &'static str,
    why: &'static str,
    from: &'static str,
    to: &'static str,
    /// A file with this in it needs no change.
    unless: Option<&'static str>,
}

const PATCHES: &[Patch] = &[
    Patch {
        file: "drivers/gpu/drm/vgem/vgem_drv.c",
        why: "drm_syncobj, with timelines, on vgem's nodes: no driver that runs without hardware has it",
        from: "= DRIVER_GEM | DRIVER_RENDER,",
        to: "= DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,",
        unless: None,
    },
    Patch {
        file: "drivers/media/test-drivers/vivid/vivid-ctrls.c",
        why: "PipeWire's v4l2 plugin cannot read a device that has an INTEGER array control (declaration)",
        from: "static const struct v4l2_ctrl_config vivid_ctrl_s32_array",
        to: "static const struct v4l2_ctrl_config __maybe_unused vivid_ctrl_s32_array",
        unless: None,
    },
    Patch {
        file: "drivers/media/test-drivers/vivid/vivid-ctrls.c",
        why: "PipeWire's v4l2 plugin cannot read a device that has an INTEGER array control (use)",
        from: "v4l2_ctrl_new_custom(hdl_user_gen, &vivid_ctrl_s32_array, NULL);",
        to: "",
        unless: None,
    },
    Patch {
        file: "arch/x86/um/vdso/um_vdso.c",
        why: "rustix looks __vdso_getcpu up on x86-64, where every other kernel has it, and panics without it",
        from: "__kernel_old_time_t time(__kernel_old_time_t *t) __attribute__((weak, alias(\"__vdso_time\")));",
        to: r#"__kernel_old_time_t time(__kernel_old_time_t *t) __attribute__((weak, alias("__vdso_time")));

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
        unless: Some("__vdso_getcpu"),
    },
    Patch {
        file: "arch/x86/um/vdso/vdso.lds.S",
        why: "the same symbol, exported",
        from: "\t\t__vdso_time;\n",
        to: "\t\t__vdso_time;\n\t\t__vdso_getcpu;\n",
        unless: Some("__vdso_getcpu"),
    },
];

/// Everything that goes into the cache's key.
pub(crate) fn texts() -> impl Iterator<Item = &'static str> {
    PATCHES.iter().flat_map(|p| [p.file, p.from, p.to])
}

/// Makes all changes below `source`.
pub(crate) fn apply(source: &Path) -> Result<()> {
    for patch in PATCHES {
        let path = source.join(patch.file);
        let text = fs::read_to_string(&path).with_context(|| format!("this kernel has no {}", patch.file))?;
        fs::write(&path, patch.apply(&text)?)?;
    }
    Ok(())
}

impl Patch {
    fn apply(&self, text: &str) -> Result<String> {
        if self.unless.is_some_and(|mark| text.contains(mark)) {
            return Ok(text.to_owned());
        }
        let found = text.matches(self.from).count();
        if found != 1 {
            bail!(
                "{}: the line `{}` is there {found} times, not once: this kernel differs from the one the change was written for. \
                 Why it is needed: {}. Adapt PATCHES in xtask/src/kernel/patch.rs, or build an older source with --kernel-source",
                self.file,
                self.from,
                self.why
            );
        }
        Ok(text.replacen(self.from, self.to, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_line_is_an_error_that_names_it() {
        let patch = &PATCHES[0];
        assert_eq!(
            patch.apply(&format!("x {} y", patch.from)).unwrap(),
            format!("x {} y", patch.to)
        );
        let error = patch.apply("nothing here").unwrap_err().to_string();
        assert!(
            error.contains("DRIVER_GEM") && error.contains("0 times"),
            "{error}"
        );
    }
}
