package EventSource::Server::Source;
use strict;
use warnings;

# What a supply may be, and how each kind of it is made to emit.

our $VERSION = '0.100';

use Carp   qw(croak);
use Encode ();
use Errno  ();
use IO::Select;
use Scalar::Util qw(blessed openhandle reftype);

our @CARP_NOT = qw(EventSource::Server);

my $AT_ONCE = 64;           # values of an iterator, before the loop has its turn
my $PIECE   = 65_536;       # bytes, of a filehandle
my $LONGEST = 1_048_576;    # bytes, of a line

my %BEGIN = (code => \&_begin_code, handle => \&_begin_handle, iterator => \&_begin_iterator, tap => \&_begin_tap);

sub new {
    my ($class, $supply) = @_;
    return bless {supply => $supply, _kind_of($supply)}, $class;
}

# Public methods

# Has the supply emit, by the loop if there is one. What it needs until it is over is what the emitter holds.
sub begin {
    my ($self, $emitter, $loop) = @_;
    $BEGIN{$self->{kind}}->($self, $emitter, $loop);
    return;
}

# Whether it can begin anew when a run has failed: what has been read is gone.
sub is_repeatable { return $_[0]{kind} =~ /\A(?:code|tap)\z/ }

sub kind { return $_[0]{kind} }

# Whether it is read, and so wants a loop that does that.
sub needs_loop { return !$_[0]->is_repeatable }

# Private functions and methods

sub _begin_code {
    my ($self, $emitter) = @_;
    $emitter->hold(scalar $self->{supply}->($emitter));
    return;
}

# By its descriptor, with a handle of our own: what the application's has in its buffer, or makes of bytes, is its affair.
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
    elsif (-f $handle) { _take_turns($emitter, $loop, $read) }    # always readable, which not every loop can be asked
    else               { $emitter->hold($loop->readable($handle, $read)) }
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
        my $some = sub { $next->() || return for 1 .. $AT_ONCE; return !!1 };
        _take_turns($emitter, $loop, $some);
    }
    else { 1 while $next->() }
    return;
}

sub _begin_tap {
    my ($self, $emitter) = @_;
    my $supply = $self->{supply};
    my $tap    = ($supply->can('_tap_fields') || $supply->can('tap'))->(
        $supply,
        sub { $emitter->take($_[0]) },
        done => sub { $emitter->done },
        quit => sub { $emitter->quit($_[0]) },
    );
    $emitter->hold(bless {tap => $tap}, 'EventSource::Server::Source::Tapped');
    return;
}

sub EventSource::Server::Source::Tapped::DESTROY {
    my $tap = shift->{tap};
    local ($@, $!, $?);
    eval { $tap->close if blessed $tap && $tap->can('close') };
    return;
}

# A line, whatever it ends with, as characters.
sub _line {
    my $line = shift;
    $line =~ s/\r?\n\z//;
    return Encode::decode('UTF-8', $line, Encode::FB_DEFAULT);
}

# What a supply is, by what it can do.
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
        return (kind => 'iterator', next => _next_by($handle, 'getline'));    # tied, or in memory
    }
    elsif ((reftype \$supply) eq 'GLOB' || (reftype $supply || '') eq 'GLOB') {
        croak 'EventSource::Server: supply is a filehandle that is not open';
    }
    return croak 'EventSource::Server: supply must be code, an object with tap or next, or a filehandle';
}

# A method that gives the next value; of lines, without what ends them.
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

# Emits the lines that a piece of a filehandle completes. Whether there is more to come.
sub _read_piece {
    my ($handle, $rest, $emitter) = @_;
    return !!0 if !$emitter->is_open;
    my $count = sysread $handle, $$rest, $PIECE, length $$rest;
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
    return $emitter->quit("a line is longer than $LONGEST bytes") if length $$rest > $LONGEST;
    return !!1;
}

# Has the loop call something again and again until it returns false. Others have their turn between.
sub _take_turns {
    my ($emitter, $loop, $code) = @_;
    my $turn = sub { _take_turns($emitter, $loop, $code) if $code->() };
    $emitter->hold($loop->after(0, $turn));
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Source - How the supply of an EventSource::Server is read

=head1 SYNOPSIS

    use EventSource::Server::Source;

    my $source = EventSource::Server::Source->new(\*STDIN);
    print $source->kind, "\n";    # handle

=head1 DESCRIPTION

L<EventSource::Server> uses this: it tells what a supply is, and has it emit to an L<EventSource::Server::Emitter>. What
may be a supply is said in L<EventSource::Server/supply>.

=head1 METHODS

=head2 new

    my $source = EventSource::Server::Source->new($supply);

Croaks if it can be no supply.

=head2 begin

    $source->begin($emitter, $loop);

Has it emit, by an L<EventSource::Loop> if one is given. Dies of what the supply dies of meanwhile.

=head2 is_repeatable

    my $repeatable = $source->is_repeatable;

Whether it may begin more than once, as code and objects with C<tap> may.

=head2 kind

    my $kind = $source->kind;

C<code>, C<tap>, C<iterator> or C<handle>.

=head2 needs_loop

    my $needed = $source->needs_loop;

Whether it is read, and reading may have to wait: an iterator and a filehandle.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
