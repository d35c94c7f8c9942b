//! What the `metrics` facade counts, kept as totals, and told as the protocol has it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::message::{self, AnyValue, CUMULATIVE, Data, HistogramPoint, KeyValue, Metric, Number, Point, Value};
use crate::metrics::{ALL, BUCKETS};

/// How many series there are is bounded by who asks for them.
#[derive(Debug)]
pub(super) struct Totals {
    counters: Series<AtomicU64>,
    gauges: Series<AtomicU64>,
    histograms: Series<Measured>,
    /// Nanoseconds since 1970.
    since: u64,
}

#[derive(Debug)]
struct Series<V>(Mutex<HashMap<Key, Arc<V>>>);

#[derive(Debug, Default)]
struct Measured {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    /// The bits of a float.
    sum: AtomicU64,
}

impl Totals {
    pub(super) fn new(since: u64) -> Self {
        Self { counters: Series::default(), gauges: Series::default(), histograms: Series::default(), since }
    }

    /// All series as they are now, by name.
    pub(super) fn metrics(&self, now: u64) -> Vec<Metric> {
        let mut found = BTreeMap::new();
        let point =
            |key: &Key, value| Point { attributes: attributes(key), start: self.since, time: now, value: Some(value) };
        self.counters.each(|key, total| {
            let whole = Number::Whole(i64::try_from(total.load(Relaxed)).unwrap_or(i64::MAX));
            let empty = || Data::Sum(message::Sum { points: Vec::new(), temporality: CUMULATIVE, is_monotonic: true });
            if let Some(Data::Sum(sum)) = &mut metric(&mut found, key, empty).data {
                sum.points.push(point(key, whole));
            }
        });
        self.gauges.each(|key, value| {
            let value = f64::from_bits(value.load(Relaxed));
            let is_count = key.name() == ACTIVE;
            let empty = || match is_count {
                true => Data::Sum(message::Sum { points: Vec::new(), temporality: CUMULATIVE, is_monotonic: false }),
                false => Data::Gauge(message::Gauge { points: Vec::new() }),
            };
            match &mut metric(&mut found, key, empty).data {
                Some(Data::Sum(sum)) => sum.points.push(point(key, Number::Whole(value as i64))),
                Some(Data::Gauge(gauge)) => gauge.points.push(point(key, Number::Float(value))),
                _ => {}
            }
        });
        self.histograms.each(|key, measured| {
            let empty = || Data::Histogram(message::Histogram { points: Vec::new(), temporality: CUMULATIVE });
            if let Some(Data::Histogram(histogram)) = &mut metric(&mut found, key, empty).data {
                histogram.points.push(measured.point(key, self.since, now));
            }
        });
        found.into_values().collect()
    }
}

fn metric<'m>(found: &'m mut BTreeMap<String, Metric>, key: &Key, empty: impl FnOnce() -> Data) -> &'m mut Metric {
    found.entry(key.name().to_owned()).or_insert_with(|| {
        let (name, unit, description) = naming(key.name());
        Metric { name, description: description.to_owned(), unit: unit.to_owned(), data: Some(empty()) }
    })
}

impl<V> Default for Series<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Default> Series<V> {
    fn get(&self, key: &Key) -> Arc<V> {
        let mut known = self.0.lock();
        if let Some(value) = known.get(key) {
            return Arc::clone(value);
        }
        Arc::clone(known.entry(key.clone()).or_default())
    }

    fn each(&self, mut look: impl FnMut(&Key, &V)) {
        self.0.lock().iter().for_each(|(key, value)| look(key, value));
    }
}

impl Measured {
    fn point(&self, key: &Key, start: u64, time: u64) -> HistogramPoint {
        let buckets: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        HistogramPoint {
            attributes: attributes(key),
            start,
            time,
            count: buckets.iter().sum(),
            sum: Some(f64::from_bits(self.sum.load(Relaxed))),
            buckets,
            bounds: BUCKETS.to_vec(),
        }
    }
}

impl HistogramFn for Measured {
    fn record(&self, value: f64) {
        // A bucket takes its upper bound; what is no number lies above all.
        let bucket = BUCKETS.iter().position(|bound| value <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        let add = |sum: u64| Some((f64::from_bits(sum) + value).to_bits());
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }
}

impl Recorder for Totals {
    // Names, units and words stand in the catalogue.
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.get(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.get(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.histograms.get(key))
    }
}

/// A gauge to Prometheus; by OpenTelemetry's conventions a count that goes up and down.
const ACTIVE: &str = "http_client_active_requests";

/// OpenTelemetry's own metrics have its names; ours lose the endings that Prometheus wants, which a collector adds again where they are
/// missing. Bytes stay: a lag in bytes is no lag in seconds.
fn naming(name: &str) -> (String, &'static str, &'static str) {
    let unit_of = |metric: &&&'static crate::metrics::Metric| match metric.unit {
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "By",
        _ if metric.name == ACTIVE => "{request}",
        _ => "",
    };
    let metric = ALL.iter().find(|metric| metric.name == name);
    let (unit, help) = (metric.as_ref().map_or("", unit_of), metric.map_or("", |metric| metric.help));
    let short = name.strip_suffix("_total").or(name.strip_suffix("_seconds")).unwrap_or(name);
    let name = match short {
        "http_client_request_duration" => "http.client.request.duration",
        ACTIVE => "http.client.active_requests",
        short => short,
    };
    (name.to_owned(), unit, help)
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    let name = |label: &str| match label {
        "http_request_method" => "http.request.method".to_owned(),
        "url_template" => "url.template".to_owned(),
        "http_response_status_code" => "http.response.status_code".to_owned(),
        "error_type" => "error.type".to_owned(),
        "server_address" => "server.address".to_owned(),
        "server_port" => "server.port".to_owned(),
        label => label.to_owned(),
    };
    let attribute = |label: &metrics::Label| {
        let key = name(label.key());
        // Integers by the conventions.
        let is_number = ["http.response.status_code", "server.port"].contains(&&*key);
        let number = is_number.then(|| label.value().parse().ok()).flatten().map(Value::Number);
        let value = number.unwrap_or_else(|| Value::Text(label.value().to_owned()));
        KeyValue { key, value: Some(AnyValue { value: Some(value) }) }
    };
    key.labels().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::Kind;

    /// As a collector names it for Prometheus: units and `_total`, where the name has them not.
    fn for_prometheus(metric: &crate::metrics::Metric) -> String {
        let (name, unit, _) = naming(metric.name);
        let mut name = name.replace('.', "_");
        let endings = [(unit == "s", "_seconds"), (unit == "By", "_bytes"), (metric.kind == Kind::Counter, "_total")];
        for (_, ending) in endings.iter().filter(|(applies, _)| *applies) {
            if !name.ends_with(ending) {
                name += ending;
            }
        }
        name
    }

    #[test]
    fn no_two_metrics_have_one_name_and_a_collector_gives_them_the_names_that_the_alerts_ask_for() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| naming(metric.name).0).collect();
        assert_eq!(names.len(), ALL.len(), "{names:?}");
        for metric in ALL {
            assert_eq!(for_prometheus(metric), metric.name);
        }
    }

    #[test]
    fn a_measured_value_falls_into_the_bucket_that_ends_at_or_above_it() {
        let measured = Measured::default();
        for value in [0.0, 0.005, 0.006, 10.0, 10.5, f64::NAN] {
            HistogramFn::record(&measured, value);
        }
        let point = measured.point(&Key::from_name("a"), 1, 2);
        assert_eq!((point.buckets[0], point.buckets[1], point.buckets[13], point.buckets[14]), (2, 1, 1, 2));
        assert_eq!((point.count, point.start, point.time), (6, 1, 2));
        let measured = Measured::default();
        [0.5, 0.25].iter().for_each(|value| HistogramFn::record(&measured, *value));
        assert_eq!(measured.point(&Key::from_name("a"), 1, 2).sum, Some(0.75));
    }
}
