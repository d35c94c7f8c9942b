use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::Method;
use nudj_tower::Route;
use serde::de::DeserializeOwned;

use crate::{Answer, Client, Error, RequestBuilder, model::Page, path};

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
    /// where the API gives no count, at the first page that holds not just as many as were asked for.
    ///
    /// Where more should come and the page before comes again, the endpoint does not know `skip`: that is an error of kind `decode`,
    /// after the items of the first page. The stream ends after an error. Dropping it drops the fetch under way.
    pub fn stream(self) -> ListStream<T> {
        ListStream {
            limit: self.limit.unwrap_or(LARGEST_PAGE),
            skip: self.skip,
            list: self,
            state: State::Idle,
            before: Bytes::new(),
            ready: VecDeque::new(),
            ended: false,
        }
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

type Fetch = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// The items of a [`List`], one by one.
pub struct ListStream<T> {
    list: List<T>,
    limit: u32,
    skip: u64,
    state: State,
    /// The page before, as it came.
    before: Bytes,
    ready: VecDeque<T>,
    ended: bool,
}

enum State {
    Idle,
    Fetching(Fetch),
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
                State::Idle => match this.list.request(Some(this.limit), this.skip) {
                    Ok(request) => this.state = State::Fetching(Box::pin(request.send())),
                    Err(error) => {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Fetching(fetch) => {
                    let fetched = ready!(fetch.as_mut().poll(cx));
                    this.state = State::Idle;
                    if let Err(error) = fetched.and_then(|answer| this.take(&answer)) {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

impl<T: DeserializeOwned> ListStream<T> {
    fn take(&mut self, answer: &Answer) -> Result<(), Error> {
        let page: Page<T> = answer.json()?;
        let fetched = page.edges.len() as u64;
        if fetched > 0 && self.before == *answer.body() {
            let problem = "the page before came again; this endpoint takes no `skip`, ask for `page()`";
            return Err(Error::decode(problem.to_owned(), answer.status(), answer.context()));
        }
        self.skip = self.skip.saturating_add(fetched);
        self.ended = is_last(fetched, self.limit.into(), page.total_count, self.skip);
        self.before = if self.ended { Bytes::new() } else { answer.body().clone() };
        self.ready = page.edges.into();
        Ok(())
    }
}

/// Whether nothing comes after a page of `fetched` items, of `asked` at most. `skip` is how many came before its end.
fn is_last(fetched: u64, asked: u64, total: Option<f64>, skip: u64) -> bool {
    match total {
        _ if fetched == 0 => true,
        Some(total) => skip as f64 >= total,
        // More than were asked for come from an endpoint that takes no limit, and so gives all at once.
        None => fetched != asked,
    }
}

impl<T> fmt::Debug for ListStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListStream").field("list", &self.list).field("skip", &self.skip).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_last_when_it_is_empty_or_the_count_is_reached_or_it_is_not_as_large_as_asked() {
        for (fetched, total, skip, expected) in [
            (10, Some(30.0), 10, false),
            (10, Some(30.0), 30, true),
            (10, Some(25.5), 20, false),
            (3, Some(30.0), 13, false),
            (10, Some(5.0), 10, true),
            (10, Some(-1.0), 10, true),
            (0, Some(1e9), 10, true),
            (10, Some(f64::INFINITY), u64::MAX, false),
            (10, None, 10, false),
            (9, None, 19, true),
            (11, None, 11, true),
            (0, None, 0, true),
        ] {
            assert_eq!(is_last(fetched, 10, total, skip), expected, "{fetched} of 10, {total:?}, {skip}");
        }
    }
}
