package Testing::Proxy;
use Testing;

# A real reverse proxy with TLS in front of a Server, configured by a copy of its file in examples/deployment: with another
# port, and a certificate for the test. It ends with the object.
#
#   my $proxy  = Testing::Proxy->start('HAProxy', $server);
#   my $proxy  = Testing::Proxy->start('HAProxy', $server, http => $path);    # streams of tickets from a hub process' socket
#   my $proxy  = Testing::Proxy->start('HAProxy', $server, timeout => 1);     # seconds, by default as in the file
#   my $client = $proxy->curl('/held?name=a', '--http2');     # a Testing::Program; its log is the response with its head

use parent 'Testing::ConfiguredProxy';
use Carp qw(croak);
use Testing::Apache;
use Testing::Developer qw(has_command);
use Testing::Nginx;
use Testing::Program;
use Testing::SourceTree qw(slurp);

my $HOST = 'events.example.org';

# The modules of Apache that its files need.
my @APACHE = qw(mpm_event authz_core headers http2 proxy proxy_http rewrite setenvif socache_shmcb ssl);

# The file of each proxy, how it becomes that of the test, and how it becomes one with tickets.
my %PROXY = (
    nginx   => ['nginx.conf',  \&_edit_nginx],
    HAProxy => ['haproxy.cfg', \&_edit_haproxy, \&_haproxy_with_tickets],
    Caddy   => ['Caddyfile',   \&_edit_caddy,   sub { return slurp('examples/deployment/Caddyfile-tickets') }],
    Apache  => ['apache.conf', \&_edit_apache,  \&_apache_with_tickets],
);

# Starts curl for a path. It ends with its object, as a client that disconnects.
sub curl {
    my ($self, $path, @options) = @_;
    my @to = ('--connect-to', "$HOST:443:127.0.0.1:" . $self->port, '--cacert', $self->_path('crt'));
    return Testing::Program->new('curl')->run({}, qw(curl --silent --show-error --no-buffer --include --compressed),
        @to, @options, "https://$HOST$path");
}

# Why a proxy cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    my ($missing) = grep { !has_command($_) } qw(curl openssl);
    return $missing ? "there is no $missing here" : $class->SUPER::missing($name);
}

sub start {
    my ($class, $name, $server, %option) = @_;
    my ($file, $edit, $with_tickets)     = @{$PROXY{$name} || croak "Proxy: there is no proxy '$name'"};
    my ($self, $http)                    = ($class->new($name), $option{http});
    $self->{timeout} = $option{timeout} // 60;
    $self->_certify;
    my $text = slurp("examples/deployment/$file");
    $text = _edit($with_tickets->($text), qr{/run/eventsource-hub-http/shop[.]sock} => $http) if $http;
    $text =~ s/\b127[.]0[.]0[.]1:5000\b/'127.0.0.1:' . $server->port/ge or croak "Proxy: $file has no port 5000";
    return $self->start_with($edit->($self, $text));
}

sub _apache_with_tickets {
    my $text    = shift;
    my $tickets = slurp('examples/deployment/apache-tickets.conf');
    return _edit($text, qr{(?=^</VirtualHost>)}m => $tickets);
}

# Makes the files of a certificate, of its key, and of both.
sub _certify {
    my $self    = shift;
    my @command = (
        qw(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost),
        '-addext', "subjectAltName=DNS:$HOST", '-out', $self->_path('crt'), '-keyout', $self->_path('key')
    );
    my $openssl = Testing::Program->new('openssl')->run({}, @command);
    croak 'Proxy: openssl: ' . $openssl->log if $openssl->wait_for_end;
    $self->write("$HOST.pem", slurp($self->_path('crt')) . slurp($self->_path('key')));
    return;
}

# Replaces each pattern of a file, which has to be there.
sub _edit {
    my ($text, @edits) = @_;
    while (my ($pattern, $new) = splice @edits, 0, 2) {
        $text =~ s/$pattern/$new/g or croak "Proxy: the file has no $pattern";
    }
    return $text;
}

# Apache has as many threads as the test needs.
sub _edit_apache {
    my ($self,   $text) = @_;
    my ($folder, $port) = ($self->folder, $self->port);
    my $site = _edit $text,
        qr/^ServerLimit.*?^MaxRequestWorkers 4000$/ms => 'ThreadsPerChild 25',
        qr/(?<=ProxyTimeout )60/                      => $self->{timeout},
        qr/[*]:443/                                   => "127.0.0.1:$port",
        qr{/etc/ssl/}                                 => "$folder/";
    return Testing::Apache::frame($folder, $port, \@APACHE, $site);
}

# Caddy obtains no certificate, and leaves the folders of the machine alone.
sub _edit_caddy {
    my ($self, $text) = @_;
    my ($crt, $key)   = map { $self->_path($_) } qw(crt key);
    my $port   = $self->port;
    my $global = "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n";
    return $global
        . _edit(
        $text,
        qr/^\Q$HOST\E \{$/m         => "https://$HOST:$port {\n\tbind 127.0.0.1\n\ttls $crt $key",
        qr{(?<=not path )/events\*} => '/held*'
        );
}

# HAProxy refuses to start if the limit of descriptors is less than its connections need.
sub _edit_haproxy {
    my ($self, $text) = @_;
    my $pem = $self->_path('pem');
    return _edit $text,
        qr/(?<=timeout client |timeout server )60(?=s)/ => $self->{timeout},
        qr/maxconn \d+/                                 => 'maxconn 100',
        qr/bind :443 /                                  => 'bind 127.0.0.1:' . $self->port . ' ',
        qr{/etc/ssl/\Q$HOST\E[.]pem}                    => $pem;
}

sub _edit_nginx {
    my ($self, $text) = @_;
    my $folder = $self->folder;
    my $site   = _edit $text,
        qr/(?<=_timeout )60(?=s)/ => $self->{timeout},
        qr/listen 443 /           => 'listen 127.0.0.1:' . $self->port . ' ',
        qr{/etc/ssl/}             => "$folder/";
    return Testing::Nginx::frame($folder, $site);
}

sub _haproxy_with_tickets {
    my $text = shift;
    my ($line, $backend) =
        slurp('examples/deployment/haproxy-tickets.cfg') =~ /(^ +http-request wait.*?\n +use_backend .*?\n)(.*)/ms;
    return _edit($text, qr/(?=^ +default_backend )/m => $line) . $backend;
}

sub _path { return $_[0]->folder . "/$HOST.$_[1]" }

1;
