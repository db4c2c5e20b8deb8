package Testing::Contract::Subclass;
use strict;
use warnings;

# A subclass of Plack::App::EventSource that overrides call, handler_cb and headers.
#
#   my $app = Testing::Contract::Subclass->new(greeting => 'hello')->to_app;

use parent 'Plack::App::EventSource';

sub call {
    my ($self, $env) = @_;
    return [403, [], ['Not for you']] if $env->{HTTP_X_STRANGER};
    return $self->SUPER::call($env);
}

sub handler_cb {
    my $self = shift;
    return sub {
        my $conn = shift;
        $conn->push($self->{greeting});
        $conn->close;
        return;
    };
}

sub headers { return ['X-Class' => ref $_[0]] }

1;
