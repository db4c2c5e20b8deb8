package EventSource::XS::Framework::Mojolicious::HiddenHelper;
use strict;
use warnings;

# An action of a controller that has the name of a helper. Perl finds the action first, so an action that calls the helper calls
# itself, until memory is gone. From the first request of its controller on such an action dies then, with the reason.

use B ();
use EventSource::XS::Settings;
use Scalar::Util qw(blessed refaddr);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Framework::Mojolicious');

# The functions that stand in the place of methods, by their addresses: each with its method, and whether that is an action.
my %GUARD;

# Public methods

# Look at a controller before its action runs, also at the methods beside it: an action that is meant to respond with the helper
# may call one of them. %instead has the names of helpers, each with what calls the helper in such an action.
sub watch {
    my ($class, $c, $action, %instead) = @_;
    for my $helper (keys %instead) {
        my $method = $c->can($helper) or next;
        my $guard  = $GUARD{refaddr $method} || _guard(ref($c) . "::$helper", $method, $helper, $instead{$helper});
        $guard->{is_action} ||= grep { $action == $_ } $method, $guard->{method};
    }
    return;
}

# Private functions

# Routes call an action without arguments. A call with some is meant for the helper if it comes from the method itself. If it
# comes later, from a callback of an action, the hub shows it.
sub _guard {
    my ($place, $method, $helper, $instead) = @_;
    my ($package, $name) = map { ($_->STASH->NAME, $_->NAME) } B::svref_2object($method)->GV;
    my %known = (method => $method);
    my $guard = sub {
        $SETTINGS->refuse(undef,
                  "the action $helper of $package hides the helper of that name, and would call itself."
                . " Write \$c->$instead(...), or give the action another name")
            if @_ > 1 && ($known{is_action} && _is_hub($_[1]) || ((caller 1)[3] || '') eq "${package}::$name");
        goto &$method;
    };
    $known{guard} = $guard;
    $GUARD{refaddr $guard} = \%known;
    no strict 'refs';    ## no critic (TestingAndDebugging::ProhibitNoStrict)
    no warnings 'redefine';
    *$place = $guard;
    return \%known;
}

sub _is_hub { return blessed $_[0] && $_[0]->isa('EventSource::Hub') }

1;
