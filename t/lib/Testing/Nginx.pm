package Testing::Nginx;
use Testing;

# A real nginx in front of a Server, with a configuration of its own on a free port of 127.0.0.1. It ends with the object.
#
#   my $nginx = Testing::Nginx->start($server, 'documented');
#   Testing::Client->get($nginx->at, '/one');

use parent 'Testing::Daemon';
use Carp                qw(croak);
use Testing::Developer  qw(has_command needs);
use Testing::SourceTree qw(slurp write_file);

# The ways in which nginx passes requests on: as the documentation advises; with the minimal configuration, so that it speaks
# HTTP/1.0 with the server and would buffer the response; to FastCGI, also on connections that it keeps; in uWSGI's
# own protocol; with streams of clients that have a ticket served by a hub process, whose socket is given.
my %LOCATION = (
    documented      => \&_documented,
    bare            => sub { return "location / { proxy_pass http://$_[0]; }" },
    FastCGI         => sub { return _fastcgi("fastcgi_pass $_[0];") },
    'FastCGI, kept' => sub {
        return _fastcgi('fastcgi_pass kept; fastcgi_keep_conn on;'), "upstream kept { server $_[0]; keepalive 8; }";
    },
    tickets => \&_with_tickets,
    uwsgi   => sub { return "location / { include /etc/nginx/uwsgi_params; uwsgi_pass $_[0]; }" },
);

my $EXAMPLE = 'examples/deployment/nginx.conf';

# Debian installs nginx, HAProxy and Apache in this folder, which is not in a user's PATH.
$ENV{PATH} .= ':/usr/sbin';

# Returns a configuration with these directives of http. All that nginx writes is in the folder. It is one process, because the
# workers of root are another user's, whose the folder is not.
sub frame {
    my ($folder, @http) = @_;
    my @places = map { "${_}_temp_path $folder/$_;" } qw(client_body fastcgi proxy scgi uwsgi);
    return join "\n", 'daemon off;', 'master_process off;', "pid $folder/pid;", 'events {}', 'http {',
        'access_log off;', @places,
        @http, "}\n";
}

# Ends the test file, or the subtest, green, if there is no nginx; with EVENTSOURCE_XS_FULL, it has to be there.
sub require_or_skip_all { return needs(has_command('nginx') ? undef : 'there is no nginx here') }

# Starts it in front of a server; how it passes requests on is one of the names above, or an array of one and what it needs.
# More directives may follow.
sub start {
    my ($class, $server, $given, @more) = @_;
    my ($how, @needed) = ref $given ? @$given : $given;
    my $location = $LOCATION{$how} or croak "Nginx: there is no way '$how'";
    my $self     = $class->new('nginx');
    my $at       = $server->at;
    my ($text, $upstream) = $location->($at =~ m{/} ? "unix:$at" : "127.0.0.1:$at", @needed);
    $self->_configure($upstream // '', $text, @more);
    return $self->run({}, 'nginx', '-e', 'stderr', '-p', $self->folder, '-c', $self->_file);
}

sub _configure {
    my ($self, $upstream, $location, @more) = @_;
    my $server = join "\n", 'server {', 'listen 127.0.0.1:' . $self->port . ';', @more, $location, '}';
    write_file($self->_file, frame($self->folder, $upstream, $server));
    return;
}

# Returns the configuration that EventSource::Deployment documents.
sub _documented {
    my $server     = shift;
    my ($location) = slurp($EXAMPLE) =~ m{^( +location / \{.*?^ +\}\n)}ms or croak "$EXAMPLE: there is no location /";
    $location =~ s{http://events\b}{http://$server} or croak "$EXAMPLE: there is no upstream events";
    return $location;
}

sub _fastcgi { return "location / { include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_NAME ''; $_[0] }" }

sub _with_tickets {
    my ($server, $hub) = @_;
    my $text = slurp('examples/deployment/nginx-tickets.conf');
    $text =~ s{/run/eventsource-hub-http/shop[.]sock}{$hub} or croak 'Nginx: there is no socket of the hub';
    $text =~ s{http://127[.]0[.]0[.]1:5000}{http://$server} or croak 'Nginx: there is no application';
    return "location / { proxy_pass http://$server; }\n$text";
}

sub _file { return $_[0]->folder . '/nginx.conf' }

1;
