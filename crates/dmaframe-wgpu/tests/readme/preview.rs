/// A widget that shows a camera on its toolkit's device.
struct Preview {
    importer: Importer,
    converter: Converter,
    shown: wgpu::TextureView,
}

impl Preview {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue, shown: wgpu::TextureView) -> Result<Self, Error> {
        let gpu = Gpu::new(device, queue);
        println!("frames come in at {}", gpu.level());
        Ok(Self {
            // DMAFRAME_ROUTES=-buffer on a user's machine tries the next best route.
            importer: Importer::with_options(&gpu, ImportOptions::from_env()?),
            converter: Converter::new(&gpu),
            shown,
        })
    }

    /// Draws the newest frame into the texture. The camera has its buffer back when the GPU is done with it.
    fn show(&self, frame: &Frame) -> Result<Route, Error> {
        let imported = self.importer.import(frame)?; // no copy; the second time for this buffer, no system call either
        let target = Target::new(&self.shown);
        self.converter.convert(&imported, &target, &Conversion::assuming(Assume::Auto))?;
        Ok(imported.route())
    }
}
