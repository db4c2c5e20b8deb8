package EventSource::XS::Hub::ProcessSettings;
use strict;
use warnings;

# The settings of a named hub: its name, where its process is, how long that lives, and its store. Checks them, and makes of
# them what the native hub takes.

use EventSource::Hub::Process;
use EventSource::XS::Hub::HubName;
use EventSource::XS::Hub::Store;
use EventSource::XS::Settings;

# An error reports the line of the application.
our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# They need a name.
my @NAMES = qw(autostart grace idle_exit max_relays publish_timeout socket store);

# The defaults of those that are seconds. xt/defaults.t compares them with those of a hub process.
my %SECONDS = (grace => 30, idle_exit => 60, publish_timeout => 5);

# Public methods

# All texts are empty if the hub has no name.
sub native {
    my ($class, %given) = @_;
    my $is_named = defined $given{name};
    for my $setting (grep { !$is_named && defined $given{$_} } @NAMES) {
        $SETTINGS->refuse($setting, "$setting is for a named hub: give it a name, too");
    }
    my $may_start = $is_named && (!defined $given{autostart} || $given{autostart});
    return (
        name    => $is_named              ? _name($given{name})     : '',
        socket  => defined $given{socket} ? _socket($given{socket}) : '',
        store   => EventSource::XS::Hub::Store->native($given{store}),
        program => $may_start ? EventSource::Hub::Process->program : '',
        map { $_ => _seconds($_, $given{$_}) } sort keys %SECONDS
    );
}

# Private functions

sub _name {
    my $name    = $SETTINGS->string(name => shift);
    my $problem = EventSource::XS::Hub::HubName->problem($name);
    $SETTINGS->refuse(name => "name $problem") if defined $problem;
    return $name;
}

sub _seconds {
    my ($setting, $given) = @_;
    my $seconds = $SETTINGS->seconds($setting, $given, is_above_zero => $setting eq 'publish_timeout');
    return defined $seconds ? $seconds : $SECONDS{$setting};
}

sub _socket {
    my $path = $SETTINGS->string(socket => shift);
    $SETTINGS->refuse(socket => 'socket must be an absolute path without a NUL, such as /run/shop/hub.sock')
        if $path !~ m{\A/[^\0]+\z};
    utf8::encode($path) if utf8::is_utf8($path);    # as perl gives it to the system
    return $path;
}

1;
