package EventSource::XS::Doctor::Remedy;
use strict;
use warnings;

# The lines of configuration that mend a stream in each proxy. They belong where the proxy passes the stream on: the
# location of nginx, the backend of HAProxy, the site of Caddy, the virtual host of Apache, the VCL of Varnish, squid.conf.

my $TYPES = 'text/html text/plain text/css application/javascript application/json';

# %s is what the check knows: seconds, an origin, a header.
my %LINES = (
    buffering => {
        nginx => ['proxy_buffering off;', '# and take X-Accel-Buffering out of proxy_ignore_headers, if it is there',],
        HAProxy => ['option http-no-delay', '# and remove http-response wait-for-body'],
        Caddy   => ['reverse_proxy 127.0.0.1:5000 {', '    flush_interval -1', '}', '# and remove buffer_responses'],
        Apache  => [
            'ProxyPass "/events" "http://127.0.0.1:5000/events" flushpackets=on',
            '# and remove SetOutputFilter BUFFER'
        ],
        Squid => [
            'acl events urlpath_regex ^/events',
            '# for each icap_service or ecap_service:',
            '# adaptation_access NAME deny events'
        ],
        Varnish =>
            ['sub vcl_backend_response {', '    if (bereq.url ~ "^/events") { set beresp.do_stream = true; }', '}'],
    },
    cache => {
        nginx   => ['proxy_cache off;'],
        HAProxy => ['# remove http-request cache-use and http-response cache-store'],
        Apache  => ['CacheDisable "/events"'],
        Squid   => ['acl events urlpath_regex ^/events', 'cache deny events'],
        Varnish => ['sub vcl_recv {', '    if (req.url ~ "^/events") { return (pass); }', '}'],
    },
    compression => {
        nginx   => ['gzip off;', '# or take text/event-stream out of gzip_types'],
        HAProxy => ["compression type $TYPES"],
        Caddy   => ['@ordinary not path /events*', 'encode @ordinary gzip'],
        Apache  => ['SetEnvIf Request_URI "^/events" no-gzip'],
        Varnish =>
            ['sub vcl_backend_response {', '    if (bereq.url ~ "^/events") { set beresp.do_gzip = false; }', '}'],
    },
    framing => {
        nginx  => ['proxy_http_version 1.1;', q{proxy_set_header Connection '';}, 'chunked_transfer_encoding on;'],
        Apache => ['# remove downgrade-1.0 and force-response-1.0 from BrowserMatch and SetEnvIf'],
    },
    http2 => {
        nginx   => ['listen 443 ssl http2;', '# from 1.25.1 on: listen 443 ssl; and http2 on;'],
        HAProxy => ['bind :443 ssl crt /etc/ssl/site.pem alpn h2,http/1.1'],
        Apache  => ['Protocols h2 http/1.1'],
    },
    last_event_id => {
        nginx => [
            'proxy_set_header Last-Event-ID $http_last_event_id;',
            '# and remove proxy_pass_request_headers off, if it is there',
        ],
        HAProxy => ['# remove http-request del-header Last-Event-ID'],
        Caddy   => ['# remove header_up -Last-Event-ID'],
        Apache  => ['# remove RequestHeader unset Last-Event-ID'],
        Squid   => ['# remove request_header_access Last-Event-ID'],
        Varnish => ['# remove unset req.http.Last-Event-ID'],
    },
    origin => {
        nginx   => [q{add_header Access-Control-Allow-Origin '%s' always;}, 'add_header Vary Origin always;'],
        HAProxy =>
            ['http-response set-header Access-Control-Allow-Origin "%s"', 'http-response add-header Vary Origin'],
        Caddy   => ['header Access-Control-Allow-Origin "%s"',            'header +Vary Origin'],
        Apache  => ['Header always set Access-Control-Allow-Origin "%s"', 'Header always merge Vary Origin'],
        Squid   => ['# remove reply_header_access Access-Control-Allow-Origin'],
        Varnish => [
            'sub vcl_deliver {',
            '    set resp.http.Access-Control-Allow-Origin = "%s";',
            '    set resp.http.Vary = "Origin";', '}'
        ],
    },
    timeout => {
        nginx   => ['proxy_read_timeout %1$ds;', 'send_timeout %1$ds;'],
        HAProxy => ['timeout server %1$ds',      'timeout client %1$ds'],
        Caddy => ['reverse_proxy 127.0.0.1:5000 {', '    transport http {', '        read_timeout %1$ds', '    }', '}'],
        Apache  => ['ProxyTimeout %1$d', 'Timeout %1$d'],
        Squid   => ['read_timeout %1$d seconds'],
        Varnish => ['sub vcl_backend_fetch {', '    set bereq.between_bytes_timeout = %1$ds;', '}'],
    },
    type => {
        nginx   => ['proxy_hide_header Content-Type;', 'add_header Content-Type text/event-stream;'],
        HAProxy => ['http-response set-header Content-Type text/event-stream'],
        Caddy   => ['header {', '    Content-Type text/event-stream', '    defer', '}'],
        Apache  => ['Header set Content-Type text/event-stream'],
        Varnish => [
            'sub vcl_backend_response {',
            '    if (bereq.url ~ "^/events") { set beresp.http.Content-Type = "text/event-stream"; }', '}'
        ],
    },
);

# Public methods

# Return a hash: the lines, an array, by the name of the proxy (nginx, HAProxy, Caddy, Apache, Squid, Varnish). A line that
# begins with # tells what to remove. $what is one of buffering, cache, compression, framing, http2, last_event_id, origin (with
# the origin), timeout (with the seconds) and type.
sub lines {
    my ($class, $what, @values) = @_;
    my %lines = defined $what ? %{$LINES{$what}} : ();
    $_ = [map { /%/ && @values ? sprintf $_, @values : $_ } @$_] for values %lines;
    return \%lines;
}

1;
