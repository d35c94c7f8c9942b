use http::Method;
use nudj_tower::{
    Route,
    idempotency::{BusinessKey, Operation},
};

use super::super::{List, resource, route};
use crate::{Error, model::*, path};

const POINTS: Route = route("createPointsTransaction", "/api/v2/admin/users/{id}/points-transaction");

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
        self.client.typed(Method::POST, POINTS, &[id]).body_json(body).json().await
    }

    /// Gives or takes points for `business_key`, your own name of what they are for: an order's number, say.
    ///
    /// The `external_transaction_reference` of `body` is replaced by the key that the client has for this name and user: derived from
    /// both, or kept in the builder's [`key_store`](crate::ClientBuilder::key_store). So the same order asked for again carries the
    /// same reference, also from another process or after a restart.
    ///
    /// **Assumed**: that a reference is booked once, and a repeat answered 409. The public reference calls it unique, and does not say
    /// what a repeat is answered. Where the first answer was lost, a 409 would then mean that it was booked. With `retry.idempotency_keys` on, the reference is the `Idempotency-Key` too.
    ///
    /// # Errors
    /// [`Error`], of kind `idempotency_key` when the store has no key to give: nothing was sent then.
    pub async fn points_transaction_for(
        self,
        id: &str,
        business_key: &str,
        body: &NewPointsTransaction,
    ) -> Result<PointsTransacted, Error> {
        let path = path::fill(POINTS.template, &[id])?;
        let key = BusinessKey::new(business_key);
        let operation = Operation { method: &Method::POST, path: &path, business_key: Some(&key) };
        let reference = self.client.keys().get(&operation).await.map_err(Error::no_key)?;
        let reference = reference.to_str().map_err(Error::no_key)?.to_owned();
        let body = NewPointsTransaction { external_transaction_reference: reference, ..body.clone() };
        self.client.typed(Method::POST, POINTS, &[id]).business_key(business_key).body_json(&body).json().await
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
