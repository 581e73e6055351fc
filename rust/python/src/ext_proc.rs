//! The service for gateways: its own thread serves them, and the event loop of Python decides.
//!
//! The thread never asks for the interpreter. It puts requests into a queue and writes a byte into a socket that the event loop watches;
//! the loop takes everything that waits, and each request is answered by a method of its own. So nothing waits for the interpreter's lock,
//! a loop that is closed holds up nothing but its requests, which go on without a decision, and the end of the interpreter needs no care.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList},
};
use tokio::sync::{Semaphore, mpsc};
use turnout_ext_proc::{Decide, Limit, Reason, Request, Server, Settings, Verdict};

use crate::byte_budget::ByteBudget;

/// Requests to be decided, and numbers of those that went on, by reason.
type Taken = (Vec<Py<ExtProcRequest>>, Vec<(&'static str, u64)>);

/// What the event loop has not taken yet.
struct Waiting {
    unchanged: [AtomicU64; Reason::ALL.len()],
    /// Whether the loop was woken since it last took.
    is_woken: AtomicBool,
    has_ended: AtomicBool,
}

/// Panics leave nothing half done here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of the queue that the thread has.
struct Inbox {
    requests: mpsc::Sender<Request>,
    waiting: Arc<Waiting>,
    bell: UnixStream,
}

impl Inbox {
    fn wake(&self) {
        if !self.waiting.is_woken.swap(true, Ordering::AcqRel) {
            // One byte at most lies there: there is room, or nobody reads any more.
            let _ = (&self.bell).write(&[0]);
        }
    }
}

impl Decide for Inbox {
    fn decide(&self, request: Request) {
        // As many as there may be exchanges. Beyond are only those of gateways that gave up, which a busy loop has not taken yet.
        if let Err(refused) = self.requests.try_send(request) {
            let name = Reason::Overloaded.name();
            self.unchanged(Reason::Overloaded);
            refused.into_inner().answer(Verdict::Unchanged(Bytes::from_static(name.as_bytes())));
            return;
        }
        self.wake();
    }

    fn unchanged(&self, reason: Reason) {
        self.waiting.unchanged[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.wake();
    }
}

impl Drop for Inbox {
    /// The thread has ended.
    fn drop(&mut self) {
        self.waiting.has_ended.store(true, Ordering::Release);
        self.wake();
    }
}

/// Serves gateways on a socket, in a thread of its own, until it is stopped or dropped.
///
/// Args:
///     listener: The descriptor of a socket that listens. The server has its own of the same socket.
///     budget: Counts the bytes of bodies that are held.
///     paths: Ends of the paths whose requests are decided; the first that fits counts.
///     model_header: The header that names the model, in lower case.
///     rewrites_body: Whether answers may bring another body.
///     max_exchanges: Requests at a time; further ones are refused.
///     max_message_bytes: Of one message of a gateway.
///     max_body_bytes: Of a body that is decided for.
///     body_timeout_s: Seconds that a body may take that is held.
///     patience_s: Seconds after which a request goes on that nobody has answered.
///
/// Raises:
///     OSError: The system has no thread or no descriptor left.
#[pyclass(module = "turnout._core", frozen)]
pub(crate) struct ExtProcServer {
    server: Server,
    max_body_bytes: Limit,
    requests: Mutex<mpsc::Receiver<Request>>,
    waiting: Arc<Waiting>,
    bell: UnixStream,
    has_ended: AtomicBool,
}

#[pymethods]
impl ExtProcServer {
    #[new]
    #[pyo3(signature = (listener, budget, *, paths, model_header, rewrites_body, max_exchanges, max_message_bytes, max_body_bytes, body_timeout_s, patience_s))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        listener: RawFd,
        budget: &ByteBudget,
        paths: Vec<String>,
        model_header: String,
        rewrites_body: bool,
        max_exchanges: usize,
        max_message_bytes: usize,
        max_body_bytes: usize,
        body_timeout_s: f64,
        patience_s: f64,
    ) -> PyResult<Self> {
        if listener < 0 {
            return Err(PyValueError::new_err("listener is a closed socket"));
        }
        // SAFETY: the caller's descriptor is borrowed for this line only; one that is not open is an error of the system.
        let listener = unsafe { BorrowedFd::borrow_raw(listener) }.try_clone_to_owned()?;
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let (sender, requests) = mpsc::channel(max_exchanges.clamp(1, Semaphore::MAX_PERMITS));
        let waiting = Arc::new(Waiting {
            unchanged: Default::default(),
            is_woken: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        });
        let inbox = Inbox { requests: sender, waiting: Arc::clone(&waiting), bell: rings };
        let max_body_bytes = Limit::new(max_body_bytes);
        let settings = Settings {
            paths,
            model_header: model_header.into(),
            rewrites_body,
            max_exchanges,
            max_message_bytes,
            max_body_bytes: max_body_bytes.clone(),
            body_timeout: duration(body_timeout_s)?,
            patience: duration(patience_s)?,
        };
        let server = Server::start(TcpListener::from(listener), settings, Arc::clone(&budget.0), Arc::new(inbox))
            .map_err(PyOSError::new_err)?;
        Ok(Self {
            server,
            max_body_bytes,
            requests: Mutex::new(requests),
            waiting,
            bell,
            has_ended: AtomicBool::new(false),
        })
    }

    /// The descriptor that is readable when there is something to take.
    fn fileno(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Takes what came since the last time, without waiting.
    ///
    /// Returns:
    ///     Requests to be decided; and numbers of those that went on without being asked for, by reason.
    fn take(&self, py: Python<'_>) -> PyResult<Taken> {
        self.read_bell()?;
        // Before looking: what comes from here on wakes the loop again.
        self.waiting.is_woken.swap(false, Ordering::AcqRel);
        // Likewise: what came before the end is taken here.
        let has_ended = self.waiting.has_ended.load(Ordering::Acquire);
        let unchanged = Reason::ALL
            .iter()
            .map(|&reason| (reason.name(), self.waiting.unchanged[reason as usize].swap(0, Ordering::AcqRel)))
            .filter(|&(_, count)| count > 0)
            .collect();
        let mut requests = Vec::new();
        while let Ok(request) = locked(&self.requests).try_recv() {
            if !request.is_abandoned() {
                requests.push(Py::new(py, ExtProcRequest(Mutex::new(Some(request))))?);
            }
        }
        self.has_ended.fetch_or(has_ended, Ordering::AcqRel);
        Ok((requests, unchanged))
    }

    /// Whether the server has stopped, and everything was taken after that.
    #[getter]
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Stops: no new connections. Exchanges that only wait for the HTTP answer end at once, the others may decide.
    ///
    /// Args:
    ///     grace_s: Seconds until they are ended. A second call can only shorten it.
    fn stop(&self, grace_s: f64) -> PyResult<()> {
        self.server.stop(duration(grace_s)?);
        Ok(())
    }

    /// Changes the length of bodies that are decided for.
    fn set_max_body_bytes(&self, limit: usize) {
        self.max_body_bytes.set(limit);
    }
}

impl ExtProcServer {
    fn read_bell(&self) -> PyResult<()> {
        loop {
            match (&self.bell).read(&mut [0; 8]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => return Ok(()),
            }
        }
    }
}

/// A request of a gateway, which waits until it is answered or dropped. Its attributes are empty then.
#[pyclass(module = "turnout._core", frozen)]
pub(crate) struct ExtProcRequest(Mutex<Option<Request>>);

#[pymethods]
impl ExtProcRequest {
    /// Which of the paths it has.
    #[getter]
    fn path(&self) -> usize {
        locked(&self.0).as_ref().map_or(0, |request| request.path)
    }

    /// All headers, also those of HTTP/2 that begin with a colon. Names are in lower case.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let headers = locked(&self.0).as_ref().map_or_else(Vec::new, |request| request.headers.clone());
        PyList::new(py, headers.iter().map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value))))
    }

    /// The whole body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        // Not copied under the lock, which another thread may wait for with the interpreter's.
        let body = locked(&self.0).as_ref().map_or_else(Bytes::new, |request| request.body.clone());
        PyBytes::new(py, &body)
    }

    /// Seconds since the end of its body came.
    #[getter]
    fn waited_s(&self) -> f64 {
        locked(&self.0).as_ref().map_or(0.0, |request| request.came.elapsed().as_secs_f64())
    }

    /// Whether nobody waits for the answer any more. The request was counted then.
    #[getter]
    fn is_abandoned(&self) -> bool {
        locked(&self.0).as_ref().is_none_or(Request::is_abandoned)
    }

    /// Lets a model answer. Only the first answer counts.
    ///
    /// Args:
    ///     model: The value of the header.
    ///     body: What goes on; `None` for the body that came.
    ///
    /// Returns:
    ///     Whether anybody still waited for it.
    #[pyo3(signature = (model, body=None))]
    fn decided(&self, model: &[u8], body: Option<&[u8]>) -> bool {
        let body = body.map(Bytes::copy_from_slice);
        self.answer(Verdict::Decided { model: Bytes::copy_from_slice(model), body })
    }

    /// Lets the request go on as it came. Only the first answer counts.
    ///
    /// Args:
    ///     reason: Why, the value of a header.
    ///
    /// Returns:
    ///     Whether anybody still waited for it.
    fn unchanged(&self, reason: &[u8]) -> bool {
        self.answer(Verdict::Unchanged(Bytes::copy_from_slice(reason)))
    }

    /// Lets a request that was not answered go on without a decision, at once and not when it is collected.
    fn close(&self) {
        locked(&self.0).take();
    }
}

impl ExtProcRequest {
    fn answer(&self, verdict: Verdict) -> bool {
        let request = locked(&self.0).take();
        request.is_some_and(|request| request.answer(verdict))
    }
}

/// At most some decades: what is added to a time must not overflow.
fn duration(seconds: f64) -> PyResult<Duration> {
    let bounded = if seconds > 1e9 { 1e9 } else { seconds };
    Duration::try_from_secs_f64(bounded).map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
}
