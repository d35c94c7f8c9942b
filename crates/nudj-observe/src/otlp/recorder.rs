//! From the `metrics` facade to OpenTelemetry's instruments.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use opentelemetry::{KeyValue, metrics as otel};
use parking_lot::Mutex;

use crate::metrics::{ALL, BUCKETS, Metric};

pub(super) struct OtelRecorder {
    meter: otel::Meter,
    /// A counter that is asked for again must be the same one: it knows its last total.
    counters: Mutex<HashMap<Key, Counter>>,
    gauges: Mutex<HashMap<Key, Gauge>>,
}

impl OtelRecorder {
    pub(super) fn new(meter: otel::Meter) -> Self {
        Self { meter, counters: Mutex::default(), gauges: Mutex::default() }
    }
}

impl Recorder for OtelRecorder {
    // Names, units and words stand in the catalogue, which the instruments are made from.
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let make = || {
            let (name, unit, help) = naming(key.name());
            let counter = self.meter.u64_counter(name).with_unit(unit).with_description(help).build();
            Counter::from_arc(Arc::new(Counting { counter, attributes: attributes(key), total: AtomicU64::new(0) }))
        };
        self.counters.lock().entry(key.clone()).or_insert_with(make).clone()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let make = || {
            let (name, unit, help) = naming(key.name());
            let gauge = self.meter.f64_gauge(name).with_unit(unit).with_description(help).build();
            Gauge::from_arc(Arc::new(Gauging { gauge, attributes: attributes(key), value: Mutex::new(0.0) }))
        };
        self.gauges.lock().entry(key.clone()).or_insert_with(make).clone()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let (name, unit, help) = naming(key.name());
        let histogram =
            self.meter.f64_histogram(name).with_unit(unit).with_description(help).with_boundaries(BUCKETS.to_vec());
        Histogram::from_arc(Arc::new(Measuring { histogram: histogram.build(), attributes: attributes(key) }))
    }
}

struct Counting {
    counter: otel::Counter<u64>,
    attributes: Vec<KeyValue>,
    /// The highest total that was given by `absolute`.
    total: AtomicU64,
}

impl CounterFn for Counting {
    fn increment(&self, value: u64) {
        self.counter.add(value, &self.attributes);
    }

    fn absolute(&self, value: u64) {
        let known = self.total.fetch_max(value, Relaxed);
        self.counter.add(value.saturating_sub(known), &self.attributes);
    }
}

struct Gauging {
    gauge: otel::Gauge<f64>,
    attributes: Vec<KeyValue>,
    value: Mutex<f64>,
}

impl Gauging {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        // Recorded under the lock, so that the last value is the one that stays.
        let mut value = self.value.lock();
        *value = change(*value);
        self.gauge.record(*value, &self.attributes);
    }
}

impl GaugeFn for Gauging {
    fn increment(&self, value: f64) {
        self.change(|known| known + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|known| known - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

struct Measuring {
    histogram: otel::Histogram<f64>,
    attributes: Vec<KeyValue>,
}

impl HistogramFn for Measuring {
    fn record(&self, value: f64) {
        self.histogram.record(value, &self.attributes);
    }
}

/// OpenTelemetry's own metrics have its names; ours lose the endings that Prometheus wants, which a collector adds again.
fn naming(name: &str) -> (String, &'static str, &'static str) {
    let unit_of = |metric: &&&'static Metric| match metric.unit {
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "By",
        _ => "",
    };
    let metric = ALL.iter().find(|metric| metric.name == name);
    let (unit, help) = (metric.as_ref().map_or("", unit_of), metric.map_or("", |metric| metric.help));
    let short =
        name.strip_suffix("_total").or(name.strip_suffix("_seconds")).or(name.strip_suffix("_bytes")).unwrap_or(name);
    let name = match short {
        "http_client_request_duration" => "http.client.request.duration",
        "http_client_active_requests" => "http.client.active_requests",
        short => short,
    };
    (name.to_owned(), unit, help)
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    let name = |label: &str| {
        match label {
            "http_request_method" => "http.request.method",
            "url_template" => "url.template",
            "http_response_status_code" => "http.response.status_code",
            "error_type" => "error.type",
            "server_address" => "server.address",
            "server_port" => "server.port",
            label => return label.to_owned(),
        }
        .to_owned()
    };
    key.labels()
        .map(|label| {
            let (name, value) = (name(label.key()), label.value());
            // Integers by the conventions.
            let number =
                ["http.response.status_code", "server.port"].contains(&&*name).then(|| value.parse::<i64>().ok());
            match number.flatten() {
                Some(number) => KeyValue::new(name, number),
                None => KeyValue::new(name, value.to_owned()),
            }
        })
        .collect()
}
