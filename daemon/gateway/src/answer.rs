//! An answer before it is hyper's.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, MapWriter};

/// Why something is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It shows no token, and needs one.
    Unauthorized,
    /// There is no such resource.
    NotFound,
    /// It is neither GET nor HEAD.
    MethodNotAllowed,
    /// A code of the protocol (docs/reference/protocol.md).
    Node(ErrorCode),
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self::Node(code)
    }
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Node(code) => code.as_str(),
        }
    }

    /// The status that goes with it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Node(ErrorCode::UnknownMachine | ErrorCode::UnknownInstance) => StatusCode::NOT_FOUND,
            Self::Node(
                ErrorCode::BadRequest
                | ErrorCode::MissingField
                | ErrorCode::WrongType
                | ErrorCode::KeyTooLong
                | ErrorCode::UnknownState,
            ) => StatusCode::BAD_REQUEST,
            Self::Node(ErrorCode::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Node(ErrorCode::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Node(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

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

    pub(crate) fn error(code: impl Into<Code>, message: &str, hint: &str) -> Answer {
        let code = code.into();
        let mut body = Vec::new();
        let mut map = MapWriter::new(&mut body, Encoding::Json);
        map.map("error", |error| {
            error.plain("code", code.as_str()).str("message", message).str("hint", hint);
        });
        map.end();
        body.push(b'\n');
        Answer::json(code.status(), body)
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
