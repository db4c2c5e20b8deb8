package Testing::ConfiguredProxy;
use Testing;

# A real nginx, HAProxy, Caddy, Apache, Squid or Varnish in front of a server, with directives of the test. It ends with the
# object. The directives may name the address of the server and the path of streams as a remedy does: 127.0.0.1:5000 and
# /events. TLS is one that hinders nothing: HAProxy with HTTP/2, whose directive is the file of its certificate and its key.
#
#   my $proxy = Testing::ConfiguredProxy->start('nginx', $server, 'proxy_read_timeout 500ms;');
#   my @lines = Testing::ConfiguredProxy->mended(['proxy_read_timeout 500ms;'], ['proxy_read_timeout 60s;']);

use parent 'Testing::Daemon';
use Carp qw(croak);
use Testing::Apache;
use Testing::Developer qw(has_command);
use Testing::Nginx;
use Testing::Node       qw(packages_missing);
use Testing::SourceTree qw(write_file);

# A proxy with packages from npm.
my $NODE = 'xt/browser/node';

# The program, the text of its configuration, and the command line.
my %PROXY = (
    nginx   => ['nginx',    \&_nginx,   sub { ('nginx', '-e', 'stderr', '-p', $_[0]->folder, '-c', $_[1]) }],
    HAProxy => ['haproxy',  \&_haproxy, sub { (qw(haproxy -db -f),                         $_[1]) }],
    Caddy   => ['caddy',    \&_caddy,   sub { (qw(caddy run --adapter caddyfile --config), $_[1]) }],
    Apache  => ['apache2',  \&_apache,  sub { (qw(apache2 -D FOREGROUND -f),               $_[1]) }],
    Squid   => ['squid',    \&_squid,   sub { (qw(squid -N -d 1 -f),                       $_[1]) }],
    Varnish => ['varnishd', \&_varnish, sub { $_[0]->_varnishd($_[1]) }],
    Node    => ['node',     \&_none,    sub { ('node', "$NODE/proxy.js", $_[0]->port, $_[0]{to}) }],
    TLS     => ['haproxy',  \&_tls,     sub { (qw(haproxy -db -f), $_[1]) }],
);

# The modules of Apache that the tests need.
my @MODULES = qw(mpm_event authz_core deflate env filter headers proxy proxy_http setenvif);

# Returns the directives with the lines of a remedy: a line takes the place of the directive that it begins as, apart from
# the last word; a block, of the block with the same first line; a comment tells what to remove.
sub mended {
    my ($class, $directives, $remedy) = @_;
    my @lines = _with_blocks(@$directives);
    for my $line (_with_blocks(@$remedy)) {
        if ($line =~ /^#.*\bremove (.+)/) {
            my @removed = split /, | and /, $1;
            for my $directive (@lines) {
                $directive = join "\n", grep {
                    my $part = s/\A\s+//r;
                    !grep { index($part, $_) == 0 } @removed
                } split /\n/, $directive;
            }
            @lines = grep { length } @lines;
            next;
        }
        next if $line =~ /^#/;
        @lines = grep { ("$line " =~ s/\n.*/ /sr) !~ /\A\Q@{[_beginning($_)]}\E\s/ } @lines;
        push @lines, $line;
    }
    return @lines;
}

# Why a proxy cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    return "there is no $PROXY{$name}[0] here" if !has_command($PROXY{$name}[0]);
    return $name eq 'Node' ? packages_missing($NODE) : undef;
}

sub start {
    my ($class, $name, $server, @directives) = @_;
    my $text = ($PROXY{$name} || croak "ConfiguredProxy: there is no '$name'")->[1];
    my $self = $class->new($name);
    $self->{to} = $server->port;
    for (@directives) {    # those of a remedy
        s/127[.]0[.]0[.]1:5000/'127.0.0.1:' . $server->port/ge;
        s{/events\b}{/hub}g;
    }
    return $self->start_with($text->($self, $server, @directives));
}

# Starts it with the text of its configuration.
sub start_with {
    my ($self, $text) = @_;
    my $file    = $self->write(configuration => $text);
    my %folders = map { ($_ => $self->folder) } qw(HOME XDG_CONFIG_HOME XDG_DATA_HOME);    # where Caddy would write
    return $self->run(\%folders, $PROXY{$self->{name}}[2]->($self, $file));
}

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# Writes a file in the folder. Returns its path.
sub write {
    my ($self, $name, $text) = @_;
    my $path = $self->folder . "/$name";
    write_file($path, $text);
    return $path;
}

sub _apache {
    my ($self, $server, @directives) = @_;
    my ($port, $to) = ($self->port, $server->port);
    push @directives, "ProxyPass / http://127.0.0.1:$to/ disablereuse=on";
    return Testing::Apache::frame($self->folder, $port, \@MODULES, "<VirtualHost 127.0.0.1:$port>",
        @directives, '</VirtualHost>');
}

# What a directive begins with: a block, its first line; another one, all but its last word.
sub _beginning { return $_[0] =~ /\n/ ? $_[0] =~ s/\n.*//sr : $_[0] =~ s/\s+\S+\z//r }

sub _caddy {
    my ($self, $server, @directives) = @_;
    my ($port, $to) = ($self->port, $server->port);
    push @directives, "reverse_proxy 127.0.0.1:$to" if !grep { /^reverse_proxy\b/ } @directives;
    my $lines = join "\n    ", @directives;
    return <<"CADDY";
{
    admin off
    auto_https off
}
http://127.0.0.1:$port {
    bind 127.0.0.1
    $lines
}
CADDY
}

sub _haproxy {
    my ($self, $server, @directives) = @_;
    my ($port, $to,     $lines)      = ($self->port, $server->port, join "\n    ", @directives);
    return <<"HAPROXY";
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen proxy
    bind 127.0.0.1:$port
    $lines
    server application 127.0.0.1:$to
HAPROXY
}

sub _none { return '' }

# All that Squid writes goes to its standard error.
sub _squid {
    my ($self, $server, @directives) = @_;
    my ($port, $to,     $lines)      = ($self->port, $server->port, join "\n", @directives);
    return <<"SQUID";
http_port 127.0.0.1:$port accel defaultsite=127.0.0.1
cache_peer 127.0.0.1 parent $to 0 no-query no-digest originserver
http_access allow all
never_direct allow all
cache_mem 8 MB
max_filedescriptors 1024
access_log none
cache_log /dev/null
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
$lines
SQUID
}

sub _tls {
    my ($self, $server, $certificate) = @_;
    return _haproxy($self, $server) =~ s/(bind \S+)/$1 ssl crt $certificate alpn h2,http\/1.1/r;
}

# The directives are those of a server's VCL, behind its backend.
sub _varnish {
    my ($self, $server, @directives) = @_;
    return join "\n", 'vcl 4.1;', 'backend default { .host = "127.0.0.1"; .port = "' . $server->port . '"; }',
        @directives,
        '';
}

sub _varnishd {
    my ($self, $file) = @_;
    return (
        qw(varnishd -F -j none -T none -s),
        'malloc,8m', '-n', $self->folder . '/varnish',
        '-a',        '127.0.0.1:' . $self->port,
        '-f',        $file
    );
}

sub _nginx {
    my ($self, $server, @directives) = @_;
    my ($port, $to) = ($self->port, $server->port);
    return Testing::Nginx::frame(
        $self->folder,
        'proxy_cache_path ' . $self->folder . '/cache keys_zone=cache:1m;',
        'proxy_http_version 1.1;',
        "server { listen 127.0.0.1:$port; location / { proxy_pass http://127.0.0.1:$to;",
        @directives, '} }'
    );
}

# Joins the lines of each block.
sub _with_blocks {
    my ($depth, @joined) = (0);
    for my $line (@_) {
        if ($depth) { $joined[-1] .= "\n$line" }
        else        { push @joined, $line }
        $depth += () = $line =~ /[{]\s*$/mg;
        $depth -= () = $line =~ /^\s*[}]/mg;
    }
    return @joined;
}

1;
