package Testing::Prosody;
use Testing;

# A real Prosody on free ports of 127.0.0.1, in a folder of its own, with a pubsub service, components and accounts. It ends
# with the object.
#
#   my $prosody = Testing::Prosody->start(max_items => 100);
#   my $bridge  = EventSource::XMPP->new(hub => $hub, nodes => ['news'], $prosody->as_component);
#   my $alice   = Testing::XMPPClient->login($prosody, 'alice');
#   $prosody->restart('KILL');    # with what it has kept on the disk
#
# Options: max_items (of a node, 256 as by default), publishers (accounts that are administrators of the service, too), tls
# (0: it offers none), hosts (a configuration of the service and the component, instead of all that).
#
# The domain is example.test, the service pubsub.example.test, the component bridge.example.test. The accounts alice, who is the
# service's administrator, bob, bridge and editor have their name as the password.

use parent 'Testing::Daemon';
use File::Path         qw(make_path);
use Testing::Developer qw(has_command has_module needs);
use Testing::Certificates;
use Testing::Port;
use Testing::SourceTree qw(write_file);

my $DOMAIN = 'example.test';
my $SECRET = q(sec<r&et's);    # with characters that XML escapes

# The settings of a bridge that has an account, or is a component.
sub as_client {
    my ($self, $user) = @_;
    $user = 'bridge' if !defined $user;
    return (
        ca       => $self->ca,
        host     => '127.0.0.1',
        jid      => "$user\@$DOMAIN/bridge",
        password => $user,
        port     => $self->port,
        service  => $self->service
    );
}

sub as_component {
    my $self = shift;
    return (
        host     => '127.0.0.1',
        jid      => "bridge.$DOMAIN",
        password => $SECRET,
        port     => $self->component_port,
        service  => $self->service
    );
}

sub ca { return $_[0]{certificates}->ca }

# It counts when the server is started the next time.
sub change_password {
    my ($self, $user, $password) = @_;
    my $accounts = $self->folder . '/data/' . ($DOMAIN =~ s/[.]/%2e/gr) . '/accounts';
    make_path($accounts);
    return _write("$accounts/$user.dat", qq(return {\n\t["password"] = "$password";\n};\n));
}

sub component_port { return $_[0]{component_port}->number }

sub domain { return $DOMAIN }

# Ends the test, green, if there is no Prosody or no library; with EVENTSOURCE_XS_FULL they have to be there.
sub require_or_skip_all {
    needs('there is no prosody here') if !has_command('prosody');
    needs("there is no $_ here") for grep { !has_module($_) } qw(AnyEvent::XMPP Net::XMPP);
    return needs(Testing::Certificates->trouble);
}

sub service { return "pubsub.$DOMAIN" }

sub start {
    my ($class, %option) = @_;
    my $self = $class->new('prosody');
    $self->{component_port} = Testing::Port->new;
    $self->{certificates}   = Testing::Certificates->new($self->folder);
    my @certificate = $self->{certificates}->sign('prosody', "DNS:$DOMAIN");
    $self->change_password($_, $_) for qw(alice bob bridge editor);
    my $file = $self->folder . '/prosody.cfg.lua';
    _write($file, $self->_configuration(\%option, @certificate));
    return $self->run({}, 'prosody', '-F', '--config', $file);
}

# A test may run as root, which Prosody advises against.
sub _configuration {
    my ($self, $option, $cert, $key) = @_;
    my ($folder, $port, $component_port) = ($self->folder, $self->port, $self->component_port);
    my $without  = defined $option->{tls} && !$option->{tls} ? '"tls"; '        : '';
    my $required = $without                                  ? 'false'          : 'true';
    my $hosts    = defined $option->{hosts}                  ? $option->{hosts} : _hosts($option);
    return <<"END";
run_as_root = true
daemonize = false
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
component_ports = { $component_port }
component_interfaces = { "127.0.0.1" }
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "disco"; "roster"; "saslauth"; "tls"; "ping" }
modules_disabled = { $without"s2s"; "offline" }
ssl = { key = "$key"; certificate = "$cert" }
c2s_require_encryption = $required
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
c2s_stanza_size_limit = 8 * 1024 * 1024
component_stanza_size_limit = 8 * 1024 * 1024
log = { { levels = { min = "error" }; to = "console" } }
$hosts
END
}

sub _hosts {
    my $option    = shift;
    my $max_items = $option->{max_items} || 256;
    my $admins    = join '; ', map { qq("$_\@$DOMAIN") } 'alice', @{$option->{publishers} || []};
    return <<"END";
VirtualHost "$DOMAIN"
Component "pubsub.$DOMAIN" "pubsub"
  admins = { $admins }
  autocreate_on_publish = true
  pubsub_max_items = $max_items
Component "bridge.$DOMAIN"
  component_secret = "$SECRET"
END
}

sub _write {
    my ($path, $text) = @_;
    write_file($path, $text);
    return;
}

1;
