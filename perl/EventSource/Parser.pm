package EventSource::Parser;
use strict;
use warnings;

our $VERSION = '0.100';

use Carp            qw(croak);
use EventSource::XS ();

sub new {
    my ($class, %option) = @_;
    my $max_event = delete $option{max_event};
    $max_event = 1_048_576 if !defined $max_event;
    croak "EventSource::Parser: max_event must be a whole number of bytes from 1 on"
        if $max_event !~ /\A[1-9][0-9]{0,14}\z/;
    croak "EventSource::Parser: unknown option '$_'" for sort keys %option;

    my $self = bless {}, $class;
    $self->_attach($max_event);
    return $self;
}

1;
