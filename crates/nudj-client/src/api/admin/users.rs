use http::Method;

use super::super::{List, resource, route};
use crate::{Error, model::*};

resource! {
    /// Users, as administrators see them.
    Users
}

impl Users<'_> {
    /// All users.
    pub fn list(self) -> List<User> {
        List::new(self.client, route("listUsers", "/api/v2/admin/users"))
    }

    /// One user by Nudj's id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(self, id: &str) -> Result<User, Error> {
        let route = route("getUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::GET, route, &[id]).json().await
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(self, body: &NewUser) -> Result<User, Error> {
        let route = route("createUser", "/api/v2/admin/users");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Changes a user.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(self, id: &str, body: &UserUpdate) -> Result<User, Error> {
        let route = route("updateUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::PATCH, route, &[id]).body_json(body).json().await
    }

    /// Erases a user's personal data: the record stays for statistics.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(self, id: &str) -> Result<DeletedUser, Error> {
        let route = route("deleteUser", "/api/v2/admin/users/{id}");
        self.client.typed(Method::DELETE, route, &[id]).json().await
    }

    /// Creates many users in one call; each may fail by itself.
    ///
    /// **Seed only**: not in the public reference.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_many(self, users: &[NewUser]) -> Result<BulkCreated, Error> {
        let route = route("bulkCreateUsers", "/api/v2/admin/users/bulk");
        self.client.typed(Method::POST, route, &[]).body_json(&serde_json::json!({ "users": users })).json().await
    }

    /// Gives or takes points; `id` is Nudj's or your own.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn points_transaction(self, id: &str, body: &NewPointsTransaction) -> Result<PointsTransacted, Error> {
        let route = route("createPointsTransaction", "/api/v2/admin/users/{id}/points-transaction");
        self.client.typed(Method::POST, route, &[id]).body_json(body).json().await
    }
}

resource! {
    /// Custom events.
    Events
}

impl Events<'_> {
    /// Logs an event for a user, who can be created on the way.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn log(self, body: &NewCustomEvent) -> Result<CustomEvent, Error> {
        let route = route("logCustomEvent", "/api/v2/admin/events/custom");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }

    /// Makes a link that logs an event when it is opened.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn link(self, body: &NewEventLink) -> Result<EventLink, Error> {
        let route = route("createCustomEventLink", "/api/v2/admin/events/custom/link");
        self.client.typed(Method::POST, route, &[]).body_json(body).json().await
    }
}
