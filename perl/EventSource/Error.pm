package EventSource::Error;
use strict;
use warnings;

# The exception that this distribution throws when a caller has made a mistake or the system has failed.

our $VERSION = '0.100';

use Carp         ();
use Scalar::Util qw(blessed);
use overload
    '""'     => sub { $_[0]->as_string },
    'bool'   => sub { 1 },
    fallback => 1;

# The packages of this distribution: an error is the mistake of the code that has called them.
my $OURS = qr/\A(?:EventSource|HTTP::ServerEvent|Plack::(?:App|Middleware)::EventSource|Test::EventSource)(?:::|\z)/;

# Public methods

sub as_string {
    my $self = shift;
    return $self->{message} . $self->{location};
}

# Calls code. Returns its scalar, or undef after an exception of this distribution. Any other one is thrown again, as by own.
sub attempt {
    my ($class, $code) = @_;
    local ($@, $SIG{__DIE__});
    my $value;
    $class->own($@) if !eval { $value = $code->(); 1 };
    return $value;
}

# A copy of the exception, at a place that here has returned.
sub at {
    my ($self, $place) = @_;
    return bless {%$self, %$place}, ref $self;
}

sub code { return $_[0]{code} }

sub field { return $_[0]{field} }

sub file { return $_[0]{file} }

# The place where throw would throw now: the line that called the calling package.
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

# Returns what an eval has caught, if it is an exception of this distribution, or nothing. Any other one, such as that of a
# handler of a signal, is thrown again.
sub own {
    my ($class, $error) = @_;
    die $error if ref $error ? !blessed $error || !$error->isa($class) : length $error;
    return $error;
}

# The place of the nearest caller whose package does not match, and is not the one that calls this, as here returns it.
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
# and @ISA. An earlier place takes precedence. src/xs finds the line by esx_caller.
sub throw {
    my ($class, %error) = @_;
    local @EventSource::Error::CARP_NOT = scalar caller;
    die $class->new(%error, place => $error{place} || _place());
}

# Private functions

# The location is kept as Carp words it: it may name a thread, and the handle that was read last.
sub _place {
    local %Carp::Internal = %Carp::Internal;
    for (my $depth = 0; my $package = caller $depth; $depth++) { $Carp::Internal{$package} = 1 if $package =~ $OURS }
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

The modules of this distribution throw these exceptions. Test L</code> and L</field>: the text may change.

=head1 METHODS

=head2 code

    my $code = $error->code;

What kind of failure it is:

    invalid        an argument or a setting has a value that it cannot have; "field" names it
    state          the call does not fit the state of its object
    unsupported    this system, server or perl cannot do it
    unavailable    no descriptor, memory or thread is left, or the process is ending; may succeed later
    timeout        an answer did not come in time
    internal       a defect of this distribution; please report it
    unknown        the connection to the hub process broke: the event was perhaps published
    full           the hub process takes no more, or its state has no room: nothing was published
    refused        the hub process has other settings ("field") or another version: nothing was published

After C<unknown> repeat an event with its C<once> (L<EventSource::Hub/publish>). After C<full> the same call may succeed
later, or when something was forgotten.

=head2 field

    my $field = $error->field;

The name of the argument, setting or field of an event that is at fault, or C<undef>.

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

=head2 throw

    EventSource::Error->throw(code => 'invalid', field => 'retry', message => 'My::Module: retry must be a number');

Throw an exception at the line that called the package that throws, as L<Carp/croak> does, also with C<@CARP_NOT>.

=cut
