//! The directory or the bucket.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::super::sink::{SinkContext, Unavailable};
use super::config::{ParquetConfig, S3Config};
use super::encoder::PartFile;
use crate::limits::{FORWARD_FILE_BYTES_MAX, PARQUET_ERROR_CHARS_MAX, PARQUET_PUTS, PARQUET_RETRIES};
use crate::tls_client;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Directory(PathBuf),
    Bucket(Box<S3Config>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket(s3) => {
                write!(f, "s3://{}", s3.bucket)?;
                let prefix = s3.prefix.trim_matches('/');
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                s3.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
        }
    }
}

impl Place {
    /// The place of a configuration that has exactly one.
    pub fn new(config: &ParquetConfig) -> Result<Self, String> {
        match (&config.directory, &config.s3) {
            (Some(path), None) if path.is_absolute() => Ok(Self::Directory(path.clone())),
            (Some(path), None) => Err(format!("directory {} is relative; write its whole path", path.display())),
            (None, Some(s3)) => Ok(Self::Bucket(Box::new(s3.clone()))),
            _ => Err("set either `directory` or `s3`".to_owned()),
        }
    }

    /// Prepares the place for use, secrets and files read; connects to nothing.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    pub fn connect(&self, timeout: Duration) -> Result<Store, String> {
        let (store, root): (Arc<dyn ObjectStore>, Path) = match self {
            Self::Directory(path) => (
                Arc::new(LocalFileSystem::new().with_fsync(true)),
                Path::from_absolute_path(path)
                    .map_err(|error| format!("directory {} cannot be used: {error}", path.display()))?,
            ),
            Self::Bucket(s3) => {
                let root = Path::parse(s3.prefix.trim_matches('/')).map_err(|error| format!("s3.prefix: {error}"))?;
                (Arc::new(bucket(s3, timeout)?), root)
            }
        };
        Ok(Store { store, root, place: self.clone(), timeout })
    }
}

/// The HTTP client of this collector, with its TLS.
#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

fn bucket(s3: &S3Config, timeout: Duration) -> Result<object_store::aws::AmazonS3, String> {
    let is_plain = endpoint_is_plain(s3)?;
    let secret = s3.secret.read().map_err(|error| format!("s3.secret: {error}"))?;
    let tls = tls_client::config(s3.ca.as_deref(), None).map_err(|error| format!("s3.ca: {error}"))?;
    let client = Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(timeout)
        .timeout(timeout)
        .https_only(!is_plain)
        .user_agent(concat!("afferent-collector/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("the HTTP client cannot be set up: {error}"))?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(s3.region.as_deref().unwrap_or("us-east-1"))
        .with_access_key_id(&s3.key_id)
        .with_secret_access_key(secret.reveal())
        .with_allow_http(is_plain)
        .with_retry(RetryConfig { max_retries: PARQUET_RETRIES, retry_timeout: timeout, ..RetryConfig::default() })
        .with_http_connector(Connector(client));
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let Some(token) = &s3.token {
        let token = token.read().map_err(|error| format!("s3.token: {error}"))?;
        builder = builder.with_token(token.reveal());
    }
    builder.build().map_err(|error| format!("s3: {}", short(&error)))
}

/// Whether the endpoint is without TLS.
fn endpoint_is_plain(s3: &S3Config) -> Result<bool, String> {
    let Some(endpoint) = &s3.endpoint else { return Ok(false) };
    let wrong = |why: &str| format!("s3.endpoint {endpoint:?} {why}");
    let url = Url::parse(endpoint).map_err(|_| wrong("is no URL; write it as https://host:port"))?;
    if url.scheme() == "https" {
        return Ok(false);
    }
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err(wrong("is no URL; write it as https://host:port"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if is_here || s3.allow_http {
        return Ok(true);
    }
    Err(wrong("has no TLS, so that everybody on the way can read events; write https://, or set allow_http = true"))
}

/// The directory or bucket in use.
#[derive(Clone, Debug)]
pub(super) struct Store {
    store: Arc<dyn ObjectStore>,
    root: Path,
    place: Place,
    timeout: Duration,
}

impl Store {
    fn at(&self, path: &str) -> Path {
        path.split('/').fold(self.root.clone(), |at, part| at.join(part))
    }

    /// Whether a directory is there; of a bucket its first answer says it.
    pub fn check(&self) -> Result<(), Unavailable> {
        let Place::Directory(path) = &self.place else { return Ok(()) };
        match std::fs::metadata(path) {
            Ok(about) if about.is_dir() => Ok(()),
            Ok(_) => Err(Unavailable::new(format!("{} is not a directory", path.display()), "correct `directory`")),
            Err(error) => {
                let remedy = "create the directory, or mount what it belongs to, and let the collector write to it";
                Err(Unavailable::new(format!("{}: {error}", path.display()), remedy))
            }
        }
    }

    /// Reads a small object; `None` if there is none.
    pub fn read_small(&self, context: &SinkContext, path: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let at = self.at(path);
        let read = async {
            let found = match self.store.get(&at).await {
                Err(error) if is_missing(&error) => return Ok(None),
                found => found?,
            };
            let size = found.meta.size;
            if size > FORWARD_FILE_BYTES_MAX {
                return Ok(Some(Err(size)));
            }
            found.bytes().await.map(|bytes| Some(Ok(bytes.to_vec())))
        };
        match context.wait(self.timeout, &format!("reading {path} in {}", self.place), read)? {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(size))) => {
                let reason =
                    format!("{path} in {} has {size} bytes; the limit is {FORWARD_FILE_BYTES_MAX}", self.place);
                Err(Unavailable::new(reason, "it is not of a collector: move it away"))
            }
            Err(error) => Err(self.failed(&format!("{path} cannot be read"), &error)),
        }
    }

    /// Writes an object, in place of an older one.
    pub fn replace(&self, context: &SinkContext, path: &str, bytes: Vec<u8>) -> Result<(), Unavailable> {
        let at = self.at(path);
        let put = self.store.put(&at, PutPayload::from(bytes));
        let put = context.wait(self.timeout, &format!("writing {path} in {}", self.place), put)?;
        put.map(drop).map_err(|error| self.failed(&format!("{path} cannot be written"), &error))
    }

    /// Writes files; what is there under such a name is complete, and stays.
    pub fn create(&self, context: &SinkContext, files: Vec<PartFile>) -> Result<(), Unavailable> {
        let count = files.len();
        let put = |file: PartFile| async move {
            let options = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&self.at(&file.path), PutPayload::from(file.bytes), options).await {
                Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
                Err(error) => Err((file.path, error)),
            }
        };
        let all = stream::iter(files).map(put).buffer_unordered(PARQUET_PUTS).try_collect::<()>();
        let timeout = self.timeout * count.div_ceil(PARQUET_PUTS).try_into().unwrap_or(u32::MAX);
        let done = context.wait(timeout, &format!("writing {count} files to {}", self.place), all)?;
        done.map_err(|(path, error)| self.failed(&format!("{path} cannot be written"), &error))
    }

    /// Whether an object is there.
    pub fn has(&self, context: &SinkContext, path: &str) -> Result<bool, Unavailable> {
        let at = self.at(path);
        match context.wait(self.timeout, &format!("looking for {path} in {}", self.place), self.store.head(&at))? {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(&format!("{path} cannot be looked for"), &error)),
        }
    }

    /// Passes the path of every object to `each`, until that refuses one.
    pub fn list(
        &self,
        context: &SinkContext,
        mut each: impl FnMut(&str) -> Result<(), Unavailable>,
    ) -> Result<(), Unavailable> {
        let mut objects = self.store.list(Some(&self.root));
        loop {
            let next = context.wait(self.timeout, &format!("listing {}", self.place), objects.next())?;
            let Some(found) = next else { return Ok(()) };
            let object = found.map_err(|error| self.failed("the files cannot be listed", &error))?;
            let root = self.root.as_ref();
            let path = object.location.as_ref().strip_prefix(root).unwrap_or_default();
            each(path.trim_start_matches('/'))?;
        }
    }

    /// Removes what a killed collector has left of files that it was writing: they have no name that a reader takes for
    /// a file's.
    pub fn sweep(&self, paths: &[String]) {
        let Place::Directory(root) = &self.place else { return };
        for path in paths {
            let staged = (1..=8).map(|number| root.join(format!("{path}#{number}")));
            // Where there is none, the error says so.
            staged.for_each(|path| drop(std::fs::remove_file(path)));
        }
    }

    fn failed(&self, what: &str, error: &Error) -> Unavailable {
        let text = short(error);
        let has = |part: &str| text.contains(part);
        let remedy = match (&self.place, error) {
            (Place::Bucket(_), _) if has("NoSuchBucket") => "create the bucket, or correct `bucket`",
            (Place::Bucket(_), Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                "check key_id and secret, and that they may read, write and list objects of this bucket"
            }
            (Place::Bucket(_), _) => "check that the service runs, its endpoint, certificate and region",
            (Place::Directory(_), _) if has("No space left") || has("os error 28") => "make room on its disk",
            (Place::Directory(_), _) => "check the disk, and that the collector may write to the directory",
        };
        Unavailable::new(format!("{}: {what}: {text}", self.place), remedy)
    }
}

/// Whether an object is missing, and not its bucket.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !short(error).contains("NoSuchBucket")
}

/// An error with its causes, of a length that fits a line.
fn short(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(PARQUET_ERROR_CHARS_MAX).collect()
}
