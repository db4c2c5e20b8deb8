package EventSource::XS::Server::Source;
use strict;
use warnings;

# Detects the kind of a supply and reads it into an emitter.

use Encode ();
use EventSource::XS::Settings;
use IO::Select;
use Scalar::Util qw(blessed openhandle reftype);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Server');

my $VALUES_PER_TURN = 64;          # of an iterator, before the event loop gets its turn
my $READ_BYTES      = 65_536;      # at once from a filehandle
my $MAX_LINE_BYTES  = 1_048_576;

my %BEGIN = (code => \&_begin_code, handle => \&_begin_handle, iterator => \&_begin_iterator, tap => \&_begin_tap);

sub new {
    my ($class, $supply) = @_;
    return bless {supply => $supply, _kind_of($supply)}, $class;
}

# Public methods

# The emitter keeps what the run needs, such as watchers.
sub begin {
    my ($self, $emitter, $loop) = @_;
    $BEGIN{$self->{kind}}->($self, $emitter, $loop);
    return;
}

# Values that were read from an iterator or a filehandle cannot be read again.
sub is_repeatable { return $_[0]{kind} =~ /\A(?:code|tap)\z/ }

sub kind { return $_[0]{kind} }

# Code and taps call back by themselves; the other kinds are read.
sub needs_loop { return !$_[0]->is_repeatable }

# Private functions and methods

sub _begin_code {
    my ($self, $emitter) = @_;
    $emitter->keep(scalar $self->{supply}->($emitter));
    return;
}

# Reads a duplicate of the handle by its descriptor: the buffer and the layers of the application's handle do not matter.
sub _begin_handle {
    my ($self, $emitter, $loop) = @_;
    open my $handle, '<&', $self->{supply} or die "the filehandle cannot be read: $!\n";
    binmode $handle;
    my $rest = '';
    my $read = sub { _read_piece($handle, \$rest, $emitter) };
    if (!$loop) {
        my $poll = IO::Select->new($handle);
        1 while $poll->can_read && $read->();
    }
    elsif (-f $handle) { _take_turns($emitter, $loop, $read) }    # epoll refuses to watch a regular file
    else               { $emitter->keep($loop->readable($handle, $read)) }
    return;
}

sub _begin_iterator {
    my ($self, $emitter, $loop) = @_;
    my $next = sub {
        return if !$emitter->is_open;
        my $value;
        eval { $value = $self->{next}->(); 1 } or return $emitter->quit($@);
        return defined $value ? $emitter->take($value) : $emitter->done;
    };
    if ($loop) {
        my $some = sub { $next->() || return for 1 .. $VALUES_PER_TURN; return !!1 };
        _take_turns($emitter, $loop, $some);
    }
    else { 1 while $next->() }
    return;
}

sub _begin_tap {
    my ($self, $emitter) = @_;
    my $supply = $self->{supply};
    my $method = $supply->isa('EventSource::Server::Supply') ? 'tap_fields' : 'tap';
    my $tap    = $supply->$method(
        sub { $emitter->take($_[0]) },
        done => sub { $emitter->done },
        quit => sub { $emitter->quit($_[0]) },
    );
    $emitter->keep(bless {tap => $tap}, 'EventSource::XS::Server::Source::Tapped');
    return;
}

sub EventSource::XS::Server::Source::Tapped::DESTROY {
    my $tap = shift->{tap};
    local ($@, $!, $?);
    eval { $tap->close if blessed $tap && $tap->can('close') };
    return;
}

# Decodes a line and removes its ending.
sub _line {
    my $line = shift;
    $line =~ s/\r?\n\z//;
    return Encode::decode('UTF-8', $line, Encode::FB_DEFAULT);
}

# Returns the object's kind, and for an iterator the code that reads its next value.
sub _kind_of {
    my $supply = shift;
    if (blessed $supply && !$supply->isa('IO::Handle')) {
        return (kind => 'tap') if $supply->can('tap');
        my ($method) = grep { $supply->can($_) } qw(next getline get);
        return (kind => 'iterator', next => _next_by($supply, $method)) if $method;
    }
    elsif (ref $supply eq 'CODE') { return (kind => 'code') }
    elsif (my $handle = openhandle $supply) {
        my $number = fileno $handle;
        return (kind => 'handle') if defined $number && $number >= 0;
        return (kind => 'iterator', next => _next_by($handle, 'getline'));    # a tied or in-memory handle
    }
    elsif ((reftype \$supply) eq 'GLOB' || (reftype $supply || '') eq 'GLOB') {
        $SETTINGS->refuse(supply => 'supply is a filehandle that is not open');
    }
    return $SETTINGS->refuse(supply => 'supply must be code, an object with tap or next, or a filehandle');
}

# Returns code that reads the next value. The endings of lines are removed.
sub _next_by {
    my ($iterator, $method) = @_;
    return sub { scalar $iterator->$method }
        if $method ne 'getline';
    return sub {
        my $line = blessed $iterator ? $iterator->getline : readline $iterator;
        $line =~ s/\r?\n\z// if defined $line;
        return $line;
    };
}

# Reads a piece and emits the lines that it completes. Returns false when the run has ended.
sub _read_piece {
    my ($handle, $rest, $emitter) = @_;
    return !!0 if !$emitter->is_open;
    my $count = sysread $handle, $$rest, $READ_BYTES, length $$rest;
    if (!defined $count) {
        return !!1 if $!{EINTR} || $!{EAGAIN} || $!{EWOULDBLOCK};
        return $emitter->quit("the filehandle cannot be read: $!");
    }
    while ($$rest =~ /\G([^\n]*\n)/gc) { $emitter->take(_line($1)) || return !!0 }
    $$rest = substr $$rest, pos $$rest || 0;
    if (!$count) {
        $emitter->take(_line($$rest)) if length $$rest;
        return $emitter->done;
    }
    return $emitter->quit("a line is longer than $MAX_LINE_BYTES bytes") if length $$rest > $MAX_LINE_BYTES;
    return !!1;
}

# Calls the code once a turn of the event loop until it returns false.
sub _take_turns {
    my ($emitter, $loop, $code) = @_;
    my $turn = sub { _take_turns($emitter, $loop, $code) if $code->() };
    $emitter->keep($loop->after(0, $turn));
    return;
}

1;
