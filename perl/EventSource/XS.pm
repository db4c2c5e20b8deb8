package EventSource::XS;
use strict;
use warnings;

our $VERSION = '0.100';

use Carp          qw(croak);
use Exporter      qw(import);
use JSON::MaybeXS ();
use XSLoader;

our @EXPORT_OK = qw(format_event);

XSLoader::load(__PACKAGE__, $VERSION);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1);

# Callbacks that wait for a moment at which they may run: [code, arguments].
my @LATER;

# Public methods

sub dispatch {
    my $count = 0;
    while (my $callback = shift @LATER) {
        my ($code, @arguments) = @$callback;
        $count++;
        eval { $code->(@arguments); 1 } or warn "EventSource::XS: a callback died: $@";
    }
    return $count;
}

sub later {
    my ($class, $code, @arguments) = @_;
    push @LATER, [$code, @arguments];
    _wake_loop() if @LATER == 1;
    return;
}

# Private functions

# Called by format_event: a structure as JSON, in characters.
sub _json {
    my $structure = shift;
    my $text      = eval { $JSON->encode($structure) };
    return $text if defined $text;
    (my $trouble = $@) =~ s/ at \S+ line \d+\.?\n\z//;
    croak "EventSource::XS: json: $trouble";
}

# Where the application runs in an event loop, that loop calls dispatch.
sub _wake_loop {
    if ($INC{'AnyEvent.pm'} && defined $AnyEvent::MODEL) {
        AnyEvent::postpone(sub { __PACKAGE__->dispatch });
    }
    elsif ($INC{'EV.pm'}) {
        my $timer;
        $timer = EV::timer(0, 0, sub { undef $timer; __PACKAGE__->dispatch });
    }
    elsif ($INC{'Mojo/IOLoop.pm'} && Mojo::IOLoop->is_running) {
        Mojo::IOLoop->next_tick(sub { __PACKAGE__->dispatch });
    }
    return;
}

1;
