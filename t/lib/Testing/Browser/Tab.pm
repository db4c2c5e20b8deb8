package Testing::Browser::Tab;
use Testing;

# A tab of a browser, and the page in it.
#
#   my $tab = $browser->new_tab($server->url('/'));
#   is $tab->evaluate('document.title'), 'Numbers';
#   $tab->kill;

use Carp         qw(croak);
use Scalar::Util qw(weaken);
use Time::HiRes  qw(sleep time);

my $WITHIN     = 30;     # seconds that a condition may take
my $LOOK_EVERY = 0.05;

# Asks for something in the browser's own protocol.
sub ask { my $self = shift; return $self->_browser->ask_in($self, @_) }

sub close { my $self = shift; $self->_browser->forget($self); return $self->_browser->close_in($self) }

# Returns the exceptions and failed requests that the page has reported, where the browser tells.
sub complaints { return @{$_[0]{complaints} || []} }

# The value of a JavaScript expression in the page, once it is there if it is a promise.
sub evaluate { my $self = shift; return $self->_browser->evaluate_in($self, @_) }

# True after its process was killed, by kill of this tab or of another one in that process.
sub is_killed { return $_[0]{killed} }

# Kills the process of the page; other tabs may be in it.
sub kill { my $self = shift; $self->_browser->forget($self); return $self->_browser->kill_in($self) }

sub new {
    my ($class, $browser, %known) = @_;
    my $self = bless {complaints => [], %known, browser => $browser}, $class;
    weaken($self->{browser});
    return $self;
}

# Loads a page, up to its load event.
sub open {
    my ($self, $url) = @_;
    $self->_browser->open_in($self, $url);
    my $there = $url eq 'about:blank' ? '===' : '!==';
    return $self->wait_for("document.readyState === 'complete' && location.href $there 'about:blank'",
        "$url is loaded");
}

# Waits until an expression is true in the page; what it is then. A failed test, and undef, if that takes too long.
sub wait_for {
    my ($self, $expression, $name) = @_;
    my $deadline = time + $WITHIN;
    my $value;
    until ($value = eval { $self->evaluate($expression) }) {
        if (time > $deadline) {
            fail $name;
            diag "Not true within $WITHIN s: $expression", $@ ? "\n$@" : '';
            diag "The page complains: $_" for $self->complaints;
            return;
        }
        sleep $LOOK_EVERY;
    }
    pass $name;
    return $value;
}

sub _browser { return $_[0]{browser} || croak 'Tab: its browser has ended' }

1;
