use http::Method;

use super::{resource, route};
use crate::{Error, model::UserDetails};

resource! {
    /// Statistics: `/api/v2/analytics`.
    Analytics
}

impl Analytics<'_> {
    /// All statistics of one user. The reference shows the path and the answer but not the name of the query parameter that says
    /// whose: `userId`, which is sent, is this crate's guess. Where it is another, use
    /// [`Client::request`](crate::Client::request).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn user_details(self, user_id: &str) -> Result<UserDetails, Error> {
        let route = route("getUserDetails", "/api/v2/analytics/users/details");
        self.client.typed(Method::GET, route, &[]).query("userId", user_id).json().await
    }
}
