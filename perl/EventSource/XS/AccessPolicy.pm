package EventSource::XS::AccessPolicy;
use strict;
use warnings;

# Who may use an application for operators (metrics_app and admin_app of EventSource::Hub): which clients, under which names.

use EventSource::XS::Response;
use Socket        qw(AF_INET AF_INET6 inet_pton);
use Sys::Hostname ();

our @CARP_NOT = qw(EventSource::XS::Hub::Admin EventSource::XS::Hub::Metrics EventSource::XS::MetricsApp);

my @LOOPBACK = qw(127.0.0.0/8 ::1 ::ffff:127.0.0.0/104);

# Headers with which a proxy says that the client is another one.
my @FORWARDED = qw(HTTP_FORWARDED HTTP_VIA HTTP_X_FORWARDED_FOR HTTP_X_REAL_IP);

# Arguments: the settings of the module that has the method, the options allow and hosts, and for refusals what is asked
# for with its verb, and the name of the method.
sub new {
    my ($class, $settings, %given) = @_;
    return bless {
        %given,
        is_allowed => _is_allowed($settings, $given{allow}),
        is_host    => _is_host($settings, $given{hosts}),
    }, $class;
}

# Public methods

# Return a PSGI response if the client of a request may not use the application; otherwise undef.
sub refusal {
    my ($self, $env) = @_;
    return EventSource::XS::Response->text(403, "$self->{what} not for this client") if !$self->{is_allowed}->($env);
    return undef if $self->{is_host}->($env->{HTTP_HOST});
    return EventSource::XS::Response->text(403, "this name is not known here: add it to hosts of $self->{of}");
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
    my ($settings, $allow) = @_;
    return sub { !!$allow->($_[0]) }
        if ref $allow eq 'CODE';
    my $elements = defined $allow ? $settings->array(allow => $allow, 'addresses') : \@LOOPBACK;
    $settings->refuse(allow => 'allow must be an array of addresses, or a code reference') if !$elements;
    my @blocks;
    for my $text (@$elements) {
        push @blocks, defined $text && _block("$text")
            || $settings->refuse(allow => 'allow takes addresses, such as 192.0.2.7, 192.0.2.0/24 and 2001:db8::/32');
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
# rebinding), and a browser on this machine would use the application for it. An address cannot be rebound, and a monitor need
# not send the header.
sub _is_host {
    my ($settings, $hosts) = @_;
    my $elements = defined $hosts ? $settings->array(hosts => $hosts, 'names') : [];
    $settings->refuse(hosts => 'hosts must be an array of names') if !$elements;
    $settings->refuse(hosts => "hosts takes names without ports, such as 'shop.example'")
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

1;
