package EventSource::XS::Hub::Metrics;
use strict;
use warnings;

# The PSGI application that answers a monitor with the metrics of a hub. The list of metrics and the text are in
# src/metrics.rs; here is who may read them, and which channels are told apart.
#
# "metrics_app" in EventSource::Hub has the manual.

use EventSource::XS::Hub::Name;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use Scalar::Util  qw(blessed);
use Socket        qw(AF_INET AF_INET6 inet_pton);
use Sys::Hostname ();

our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
my $MAX_TOPICS   = 100;                                                            # labels cost a monitor memory
my @LOOPBACK     = qw(127.0.0.0/8 ::1 ::ffff:127.0.0.0/104);

# Headers with which a proxy says that the client is another one.
my @FORWARDED = qw(HTTP_FORWARDED HTTP_VIA HTTP_X_FORWARDED_FOR HTTP_X_REAL_IP);

# Public methods

sub app {
    my ($class, $hub, @given) = @_;
    my %given = $SETTINGS->parse('metrics_app takes options', @given);
    $SETTINGS->known(\%given, [qw(allow channels hosts)], 'option %s of metrics_app');
    my $is_allowed  = _is_allowed($given{allow});
    my $is_host     = _is_host($given{hosts});
    my @topics      = $class->topics($given{channels});
    my $response_to = sub {
        my $env = shift;
        return EventSource::XS::Response->text(403, 'these metrics are not for this client') if !$is_allowed->($env);
        return EventSource::XS::Response->text(403, 'this name is not known here: add it to hosts of metrics_app')
            if !$is_host->($env->{HTTP_HOST});
        return EventSource::XS::Response->text(405, 'GET or HEAD', Allow => 'GET, HEAD')
            if $env->{REQUEST_METHOD} !~ /\A(?:GET|HEAD)\z/;
        local $SIG{__DIE__};
        my $text = eval { $hub->_metrics([defined $hub->{name} ? $hub->{name} : '', @topics]) };
        return defined $text ? EventSource::XS::Response->of(200, $CONTENT_TYPE, $text) : _unavailable($@);
    };
    return sub { EventSource::XS::Response->for_method($_[0]{REQUEST_METHOD}, $response_to->($_[0])) };
}

# The channels and patterns of an option, as the native side takes them: pairs of a kind and a name.
sub topics {
    my ($class, $channels) = @_;
    return () if !defined $channels;
    my $elements = $SETTINGS->array(channels => $channels, 'channels and patterns')
        or $SETTINGS->refuse(channels => 'channels must be an array of channels and patterns');
    $SETTINGS->refuse(channels => "channels must be at most $MAX_TOPICS: each costs the monitor memory")
        if @$elements > $MAX_TOPICS;
    return map { _topic($_) } @$elements;
}

# Private functions

# The first bits of an address, and their number.
sub _block {
    my $text = shift;
    my ($address, $bits) = $text =~ m{\A([0-9A-Fa-f:.]+)(?:/([0-9]{1,3}))?\z} or return;
    my $packed = inet_pton($address =~ /:/  ? AF_INET6 : AF_INET, $address);
    my $most   = 8 * length(defined $packed ? $packed  : '');
    $bits = $most if !defined $bits;
    return if !$most || $bits > $most;
    return [unpack("B$bits", $packed), $most];
}

# Returns a function of the PSGI environment.
sub _is_allowed {
    my $allow = shift;
    return sub { !!$allow->($_[0]) }
        if ref $allow eq 'CODE';
    my $elements = defined $allow ? $SETTINGS->array(allow => $allow, 'addresses') : \@LOOPBACK;
    $SETTINGS->refuse(allow => 'allow must be an array of addresses, or a code reference') if !$elements;
    my @blocks;
    for my $text (@$elements) {
        push @blocks, defined $text && _block("$text")
            || $SETTINGS->refuse(allow => 'allow takes addresses, such as 192.0.2.7, 192.0.2.0/24 and 2001:db8::/32');
    }
    return sub {
        my $env = shift;
        return !!0 if grep { defined $env->{$_} } @FORWARDED;
        my $of_client = defined $env->{REMOTE_ADDR} ? _block($env->{REMOTE_ADDR}) : undef;
        return !!0 if !$of_client || $env->{REMOTE_ADDR} =~ m{/};
        return !!grep { $_->[1] == $of_client->[1] && index($of_client->[0], $_->[0]) == 0 } @blocks;
    };
}

# Returns a function of the header Host. A page can let its own name stand for another address after it was loaded (DNS
# rebinding), and a browser on this machine would read the metrics for it. An address cannot be rebound, and a monitor need not
# send the header.
sub _is_host {
    my $hosts    = shift;
    my $elements = defined $hosts ? $SETTINGS->array(hosts => $hosts, 'names') : [];
    $SETTINGS->refuse(hosts => 'hosts must be an array of names') if !$elements;
    $SETTINGS->refuse(hosts => "hosts takes names without ports, such as 'shop.example'")
        if grep { !defined || !/\A[A-Za-z0-9._-]+\z/ } @$elements;
    my %is_known = map { (lc $_ => 1) } 'localhost', Sys::Hostname::hostname(), @$elements;
    return sub {
        my $host = lc(defined $_[0] ? $_[0] : '');
        return !!1 if $host eq '';
        $host =~ s/:[0-9]*\z// if $host !~ /\]\z/;
        my ($v6) = $host =~ /\A\[(.*)\]\z/;
        return !!1 if defined inet_pton(defined $v6 ? (AF_INET6, $v6) : (AF_INET, $host));
        return !!$is_known{$host};
    };
}

sub _topic {
    my $topic = shift;
    return (pattern => $$topic) if blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern');
    my $is_name = defined $topic && !ref $topic && length $topic;
    my $problem = $is_name ? EventSource::XS::Hub::Name->problem($topic) : 'must be a string that is not empty';
    $SETTINGS->refuse(channels => "a channel $problem") if defined $problem;
    return (channel => $topic);
}

sub _unavailable {
    my $error = shift;
    die $error if !blessed $error || !$error->isa('EventSource::Error');
    return EventSource::XS::Response->text(503, $error->message, 'Retry-After' => 10);
}

1;
