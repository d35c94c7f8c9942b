//! The recorder that everything is written to.

use std::{fmt, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};

use super::catalogue::{self, Kind, Metric};

static METADATA: Metadata<'static> = Metadata::new("nudj", Level::INFO, Some(module_path!()));

/// The recorder of this process, or one of its own.
#[derive(Clone)]
pub(crate) struct Meter(Option<Arc<dyn Recorder + Send + Sync>>);

impl Meter {
    pub(crate) fn new(recorder: Option<Arc<dyn Recorder + Send + Sync>>) -> Self {
        Self(recorder)
    }

    /// Whether there is a recorder. The one that stands in for none is of no size, and one that counts anything has to keep it somewhere.
    pub(crate) fn has_recorder(&self) -> bool {
        self.with(|recorder| size_of_val(recorder) > 0)
    }

    /// Tells the recorder what each metric says.
    pub(crate) fn describe_all(&self) {
        self.with(|recorder| catalogue::ALL.iter().for_each(|metric| describe(recorder, metric)));
    }

    fn with<T>(&self, work: impl FnOnce(&dyn Recorder) -> T) -> T {
        match &self.0 {
            Some(own) => work(&**own),
            None => metrics::with_recorder(work),
        }
    }

    pub(crate) fn counter(&self, metric: &Metric, labels: Vec<Label>) -> Counter {
        self.with(|recorder| recorder.register_counter(&Key::from_parts(metric.name, labels), &METADATA))
    }

    pub(crate) fn gauge(&self, metric: &Metric, labels: Vec<Label>) -> Gauge {
        self.with(|recorder| recorder.register_gauge(&Key::from_parts(metric.name, labels), &METADATA))
    }

    pub(crate) fn histogram(&self, metric: &Metric, labels: Vec<Label>) -> Histogram {
        self.with(|recorder| recorder.register_histogram(&Key::from_parts(metric.name, labels), &METADATA))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Meter(own)" } else { "Meter(global)" })
    }
}

fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let (name, help) = (KeyName::from_const_str(metric.name), SharedString::const_str(metric.help));
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, metric.unit, help),
        Kind::Gauge => recorder.describe_gauge(name, metric.unit, help),
        Kind::Histogram => recorder.describe_histogram(name, metric.unit, help),
    }
}
