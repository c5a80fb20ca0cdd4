//! Which settings decide what a catalogue holds, and which only how the service runs.

use super::Settings;

impl Settings {
    /// The settings with everything at its default that does not decide what a catalogue holds: where it is written, how many
    /// threads, the bus, the service.
    pub fn deciding(&self) -> Self {
        let defaults = Self::default();
        let mut deciding = self.clone();
        deciding.output.directory = defaults.output.directory;
        deciding.network.threads = defaults.network.threads;
        deciding.serve = defaults.serve;
        deciding.bus = defaults.bus;
        deciding.spool = defaults.spool;
        deciding.fetch = defaults.fetch;
        deciding.http = defaults.http;
        deciding.telemetry = defaults.telemetry;
        // What the calibration file says decides, not where it lies.
        deciding.calibration.file = defaults.calibration.file;
        deciding.calibration.sha256 =
            self.calibration.loaded.as_ref().map(|loaded| loaded.sha256.clone()).unwrap_or_default();
        deciding.calibration.loaded = None;
        // `stillair joint` alone reads it
        deciding.joint = defaults.joint;
        deciding
    }

    /// Names of the sections in which the two differ.
    pub fn differing_sections(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("read", self.read == other.read),
            ("catalog", self.catalog == other.catalog),
            ("background", self.background == other.background),
            ("detect", self.detect == other.detect),
            ("psf", self.psf == other.psf),
            ("stamp", self.stamp == other.stamp),
            ("deconv", self.deconv == other.deconv),
            ("joint", self.joint == other.joint),
            ("network", self.network == other.network),
            ("renorm", self.renorm == other.renorm),
            ("profile", self.profile == other.profile),
            ("debias", self.debias == other.debias),
            ("structure", self.structure == other.structure),
            ("quality", self.quality == other.quality),
            ("calibration", self.calibration == other.calibration),
            ("output", self.output == other.output),
            ("serve", self.serve == other.serve),
            ("bus", self.bus == other.bus),
            ("spool", self.spool == other.spool),
            ("fetch", self.fetch == other.fetch),
            ("http", self.http == other.http),
            ("telemetry", self.telemetry == other.telemetry),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
