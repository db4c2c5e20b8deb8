package Testing::NamedProxies;
use Testing;

# Proxies that hinder streams, by name: real ones (Testing::ConfiguredProxy), and those of Testing::Middlebox. Each is in front
# of a server that has its streams at /events. It ends with the object.
#
#   for my $name (grep { !Testing::NamedProxies->missing($_) } Testing::NamedProxies->names) {
#       my $proxy = Testing::NamedProxies->start($name, $server);
#       $browser->new_tab($proxy->url('/'));
#   }

use Carp qw(croak);
use Testing::ConfiguredProxy;
use Testing::Middlebox;

# What starts each, in the order of the tables, with its directives or options.
my @PROXIES = (
    'none'             => ['pass'],
    'nginx, buffering' => ['nginx', 'proxy_buffering on;', 'proxy_ignore_headers X-Accel-Buffering;'],
    'nginx, HTTP/1.0'  =>
        ['nginx', 'proxy_http_version 1.0;', 'proxy_buffering on;', 'proxy_ignore_headers X-Accel-Buffering;'],
    'nginx, gzip'  => ['nginx', 'gzip on;', 'gzip_types text/event-stream;', 'gzip_proxied any;'],
    'nginx, cache' => [
        'nginx',
        'proxy_cache cache;',
        'proxy_cache_valid 200 1m;',
        'proxy_ignore_headers Cache-Control Expires X-Accel-Buffering Vary;'
    ],
    'HAProxy, compression' => ['HAProxy', 'compression algo gzip', 'compression type text/event-stream'],
    'Squid'                => ['Squid'],
    'Varnish'              => ['Varnish'],
    'Varnish, gzip'        => ['Varnish', 'sub vcl_backend_response { set beresp.do_gzip = true; }'],
    'Apache, mod_deflate'  => ['Apache',  'AddOutputFilterByType DEFLATE text/event-stream'],
    'Caddy, gzip'          => [
        'Caddy', "encode gzip {\n        minimum_length 1\n        match header Content-Type text/event-stream*\n    }"
    ],
    'http-proxy, compression' => ['Node'],
    'holds until the end'     => ['hold'],
    'holds, after the head'   => ['hold', head => 1],
    '64 KB at a time'         => ['batch'],
    'cut after 30 s'          => ['cut'],
    '502 for one in three'    => ['fail'],
    'silent after 30 s'       => ['silence'],
    'caches for a minute'     => ['cache'],
    'refuses Incremental'     => ['refuse'],
);
my %PROXY = @PROXIES;

# Through these no stream comes in time.
my %IS_MUTE = map { ($_ => 1) } (
    'nginx, HTTP/1.0',
    'Varnish, gzip',
    'Caddy, gzip',
    'holds until the end',
    'holds, after the head',
    '64 KB at a time',
    'refuses Incremental'
);
my %IS_OWN = map { ($_ => 1) } Testing::Middlebox->modes;

# Why a proxy cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    my $kind = ($PROXY{$name} || croak "NamedProxies: there is no '$name'")->[0];
    return $IS_OWN{$kind} ? undef : Testing::ConfiguredProxy->missing($kind);
}

sub names {
    return grep { !ref } @PROXIES;
}

# The query of the page and its stream behind a proxy: a cache answers only when there was a response that has ended.
sub query { return $_[1] =~ /cache/ ? '?max_age=6' : '' }

# Starts it in front of a server. More options of a Testing::Middlebox may follow.
sub start {
    my ($class, $name, $server, %more) = @_;
    my ($kind, @how) = @{$PROXY{$name} || croak "NamedProxies: there is no '$name'"};
    return Testing::Middlebox->start($kind, $server->port, path => '/events', @how, %more) if $IS_OWN{$kind};
    return Testing::ConfiguredProxy->start($kind, $server, @how);
}

# The way that a page goes through a proxy: stream, or poll.
sub way { return $IS_MUTE{$_[1]} ? 'poll' : 'stream' }

1;
