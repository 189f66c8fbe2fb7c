//! An answer before it is hyper's.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, MapWriter};

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
        Answer { status, content_type, body: body.into() }
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body)
    }

    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, "application/json", body)
    }

    pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
        let mut body = Vec::new();
        let mut map = MapWriter::new(&mut body, Encoding::Json);
        map.map("error", |error| {
            error.str("code", code).str("message", message);
        });
        map.end();
        body.push(b'\n');
        Answer::json(status, body)
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(self.content_type));
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert("allow", HeaderValue::from_static("GET, HEAD"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The status of an error reply, by its stable code (docs/reference/protocol.md); `None`: a code that this version does not know.
pub(crate) fn status_of(code: Option<ErrorCode>) -> StatusCode {
    match code {
        Some(ErrorCode::UnknownMachine | ErrorCode::UnknownInstance) => StatusCode::NOT_FOUND,
        Some(
            ErrorCode::BadRequest
            | ErrorCode::MissingField
            | ErrorCode::WrongType
            | ErrorCode::KeyTooLong
            | ErrorCode::UnknownState,
        ) => StatusCode::BAD_REQUEST,
        Some(ErrorCode::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        Some(ErrorCode::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
