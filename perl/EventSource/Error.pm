package EventSource::Error;
use strict;
use warnings;

# The exception that this distribution throws when a caller has made a mistake or the system has failed.

our $VERSION = '0.100';

use Carp ();
use overload
    '""'     => sub { $_[0]->as_string },
    'bool'   => sub { 1 },
    fallback => 1;

# Public methods

sub as_string {
    my $self = shift;
    return $self->{message} . $self->{location};
}

# A copy of the exception, at another place.
sub at {
    my ($self, $place) = @_;
    return bless {%$self, %$place}, ref $self;
}

sub code { return $_[0]{code} }

sub field { return $_[0]{field} }

sub file { return $_[0]{file} }

sub here {
    local @EventSource::Error::CARP_NOT = scalar caller;
    return _place();
}

sub line { return $_[0]{line} }

sub message { return $_[0]{message} }

# An exception that is not thrown, with its place.
sub new {
    my ($class, %error) = @_;
    my $place = delete $error{place};
    return bless {%error, %$place}, $class;
}

# A framework calls through several packages, which do not trust each other. And Carp trusts a class of the application that
# inherits from a trusted one.
sub outside {
    my ($class, $packages) = @_;
    my ($own,   @place)    = scalar caller;
    for (my $depth = 0; my ($package, @frame) = caller $depth; $depth++) {
        @place = @frame[0, 1];
        last if $package ne $own && $package !~ $packages;
    }
    return {file => $place[0], line => $place[1], location => " at $place[0] line $place[1].\n"};
}

# Carp finds the caller's line. It trusts the package that throws, and every package that this one trusts by @CARP_NOT
# and @ISA. An earlier place takes precedence.
sub throw {
    my ($class, %error) = @_;
    local @EventSource::Error::CARP_NOT = scalar caller;
    die $class->new(%error, place => $error{place} || _place());
}

# Private functions

# The location is kept as Carp words it: it may name a thread, and the handle that was read last.
sub _place {
    my $location = Carp::shortmess('');
    my ($file, $line) = $location =~ /\A at (.*?) line ([0-9]+)(?: thread [0-9]+)?(?:, <.*> [a-z]+ [0-9]+)?[.]?\n\z/s;
    return {file => $file, line => $line, location => $location};
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Error - An exception with a code and a field

=head1 SYNOPSIS

    use EventSource::Hub;
    use Scalar::Util qw(blessed);

    my $hub = EventSource::Hub->new;
    if (!eval { $hub->publish(news => {id => "two\nlines", data => 'x'}); 1 }) {
        my $error = $@;
        die $error if !blessed $error || !$error->isa('EventSource::Error');
        print 'code ', $error->code, ', field ', $error->field, "\n" if $error->code eq 'invalid';    # code invalid, field id
    }

=head1 DESCRIPTION

The modules of this distribution throw these exceptions. As a string an exception is the message with the caller's file
and line, as C<croak> would make it, so C<print $@> and patterns work as with any other exception. Decide by L</code>
and L</field>: the text may change between releases.

Exceptions of the application, of its server, or of other modules pass through as they are.

=head1 METHODS

=head2 code

    my $code = $error->code;

What kind of failure it is. One of

=over

=item C<invalid>

An argument or a setting has a value that it cannot have. L</field> names it, where one is at fault.

=item C<state>

The call does not fit the state of its object: the stream belongs to another hub, for example.

=item C<unsupported>

This system, server or perl cannot do it.

=item C<unavailable>

The system has no descriptor, no memory or no thread left, or the process is ending. The same call may succeed later.

=item C<timeout>

An answer did not come in time.

=item C<internal>

A defect of this distribution. Please report it.

=item C<unknown>

The connection to the hub process (L<EventSource::Hub/name>) broke, or was silent for too long, before the answer:
the event was perhaps published. L<EventSource::Hub/publish> can repeat it safely, with C<once>.

=item C<full>

More waits for the hub process than it takes, or the state has no room for an event that is retained
(L<EventSource::Hub/state>): nothing was published. The same call may succeed later, in the second case when something was
forgotten.

=item C<refused>

The hub process has other settings than this one, or another version: nothing was published. L</field> names the setting.

=back

=head2 field

    my $field = $error->field;

The name of the argument, setting or field of an event that is at fault; C<undef> if there is none.

=head2 file, line

    my ($file, $line) = ($error->file, $error->line);

Where the application made the call.

=head2 message

    my $message = $error->message;

The text without file and line. It begins with the name of the module.

=head2 as_string

    my $text = $error->as_string;
    my $text = "$error";

The message, file and line, as C<croak> formats them.

=head2 at

    die $error->at($place);

Return a copy of the exception with the file and the line of a place that L</here> has returned.

=head2 here

    my $place = EventSource::Error->here;

Return the place where L</throw> would throw now: the line that called the calling package.

=head2 new

    my $error = EventSource::Error->new(code => 'unavailable', message => $text, place => $place);

Return an exception without throwing it, at a place that L</here> has returned.

=head2 outside

    my $place = EventSource::Error->outside(qr/\AMojolicious\b/);

Return the place of the nearest caller whose package does not match, and is not the one that calls this, as L</here> does. That
is the application, if a framework called the distribution.

=head2 throw

    EventSource::Error->throw(code => 'invalid', field => 'retry', message => 'My::Module: retry must be a number');
    EventSource::Error->throw(code => 'unsupported', message => $text, place => $self->{place});

Throw an exception at the line that called the package that throws, or at an earlier place (L</here>). C<@CARP_NOT> of that
package is respected, as by L<Carp/croak>.

=head1 SEE ALSO

L<EventSource::Gone>, which ends a handler when its client has disconnected; it is not an error.

=cut
