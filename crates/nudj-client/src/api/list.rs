use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use http::Method;
use nudj_tower::Route;
use serde::de::DeserializeOwned;

use crate::{Client, Error, RequestBuilder, model::Page, path};

/// The most a page may hold, by the documentation.
const LARGEST_PAGE: u32 = 100;

/// A list that can be read by the page or as a stream that fetches as it goes.
///
/// ```no_run
/// use futures_util::TryStreamExt;
/// # async fn example(client: nudj_client::Client) -> Result<(), nudj_client::Error> {
/// let mut users = client.admin().users().list().search("ada").stream();
/// while let Some(user) = users.try_next().await? {
///     println!("{}", user.id);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a list fetches nothing until a page or the stream is asked for"]
pub struct List<T> {
    client: Client,
    route: Route,
    path: Result<String, Error>,
    limit: Option<u32>,
    skip: u64,
    filters: Vec<(String, String)>,
    items: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> List<T> {
    pub(super) fn new(client: &Client, route: Route) -> Self {
        let path = path::fill(route.template, &[]);
        Self { client: client.clone(), route, path, limit: None, skip: 0, filters: Vec::new(), items: PhantomData }
    }

    /// How many to fetch at once, 1 to 100. The API's default is 10; a stream's is 100.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How many to pass over.
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Only what contains this text, upper and lower case alike.
    pub fn search(self, text: impl Into<String>) -> Self {
        self.filter("search", text)
    }

    /// The order, such as `-createdAt`; not every endpoint takes one.
    pub fn sort(self, order: impl Into<String>) -> Self {
        self.filter("sort", order)
    }

    /// Any other filter the endpoint documents, such as `fromDate`.
    pub fn filter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.filters.push((name.into(), value.into()));
        self
    }

    /// Fetches one page.
    ///
    /// # Errors
    /// [`Error`], of kind `config` when `limit` is out of its range.
    pub async fn page(&self) -> Result<Page<T>, Error> {
        self.request(self.limit, self.skip)?.json().await
    }

    /// Everything, fetched as it is read: the documented loop. It ends at the first empty page, or when `totalCount` is reached, or,
    /// where the API gives no count, at the first page that is not full.
    ///
    /// The stream ends after an error. Dropping it drops the fetch under way.
    pub fn stream(self) -> ListStream<T> {
        ListStream { skip: self.skip, list: self, state: State::Idle, ready: VecDeque::new(), ended: false }
    }

    fn request(&self, limit: Option<u32>, skip: u64) -> Result<RequestBuilder, Error> {
        if limit.is_some_and(|limit| !(1..=LARGEST_PAGE).contains(&limit)) {
            return Err(Error::config("limit", format!("must be 1 to {LARGEST_PAGE}")));
        }
        let path = self.path.as_ref().map_err(|error| Error::config("path", error.to_string()))?.clone();
        let mut request = RequestBuilder::new(self.client.clone(), Method::GET, Ok(path), Some(self.route))
            .query_opt("limit", limit)
            .query_opt("skip", (skip > 0).then_some(skip));
        for (name, value) in &self.filters {
            request = request.query(name, value);
        }
        Ok(request)
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("route", &self.route).field("skip", &self.skip).finish_non_exhaustive()
    }
}

type Fetch<T> = Pin<Box<dyn Future<Output = Result<Page<T>, Error>> + Send>>;

/// The items of a [`List`], one by one.
pub struct ListStream<T> {
    list: List<T>,
    skip: u64,
    state: State<T>,
    ready: VecDeque<T>,
    ended: bool,
}

enum State<T> {
    Idle,
    Fetching(Fetch<T>),
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Stream for ListStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match &mut this.state {
                State::Idle => {
                    let limit = Some(this.list.limit.unwrap_or(LARGEST_PAGE));
                    match this.list.request(limit, this.skip) {
                        Ok(request) => this.state = State::Fetching(Box::pin(request.json())),
                        Err(error) => {
                            this.ended = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                State::Fetching(fetch) => {
                    let fetched = ready!(fetch.as_mut().poll(cx));
                    this.state = State::Idle;
                    match fetched {
                        Ok(page) => this.take(page),
                        Err(error) => {
                            this.ended = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

impl<T> ListStream<T> {
    fn take(&mut self, page: Page<T>) {
        let fetched = page.edges.len() as u64;
        self.skip = self.skip.saturating_add(fetched);
        let asked = u64::from(self.list.limit.unwrap_or(LARGEST_PAGE));
        self.ended = match page.total_count {
            _ if fetched == 0 => true,
            Some(total) => self.skip as f64 >= total,
            None => fetched < asked,
        };
        self.ready = page.edges.into();
    }
}

impl<T> fmt::Debug for ListStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListStream").field("list", &self.list).field("skip", &self.skip).finish_non_exhaustive()
    }
}
