package Plack::Middleware::EventSource;
use strict;
use warnings;

# Runs the queued callbacks of streams at every request, and asks for a signal when they are queued.

our $VERSION = '0.100';

use parent 'Plack::Middleware';
use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Settings;
use Plack::Util::Accessor qw(notify_signal);

# A mistake is reported at the line of the application, which is above these packages.
my $PLACK = qr/\APlack::(?:Builder|Component|Middleware)\z/;

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

sub new {
    my ($class, @given) = @_;
    my $self    = $class->SUPER::new(@given);
    my @unknown = grep { !/\A_/ && !$self->can($_) } keys %$self;
    my $place   = EventSource::Error->outside($PLACK);
    $SETTINGS->warn_unknown('unknown attribute', \@unknown, ['notify_signal'], place => [@$place{qw(file line)}]);
    return $self;
}

# Public methods

sub call {
    my ($self, $env) = @_;
    EventSource::XS::_serve(1);
    EventSource::XS->see_request($env);
    EventSource::XS->dispatch;
    my $response = $self->app->($env);
    EventSource::XS->dispatch;
    return $response;
}

sub prepare_app {
    my $self = shift;
    EventSource::XS::_serve(0);
    return if !defined $self->notify_signal;
    local $@;
    return if eval { EventSource::XS->notify_signal($self->notify_signal); 1 };
    die EventSource::Error->own($@)->at(EventSource::Error->outside($PLACK));
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::Middleware::EventSource - Run the callbacks of streams at every request

=head1 SYNOPSIS

    use EventSource::Hub;
    use Plack::Builder;

    my $hub = EventSource::Hub->new;
    builder {
        enable 'EventSource';
        mount '/events' => $hub->to_app(channels => sub { 'news' });
        mount '/'       => sub { [200, ['Content-Type' => 'text/plain'], ['hello']] };
    };

=head1 DESCRIPTION

On a server that blocks, callbacks wait for certain moments (L<EventSource::XS/WHEN CALLBACKS RUN>). This middleware runs them
at every request, before and after the application.

The first request of a process also connects it to its hub processes, if they run. Most workers do that by themselves
(L<EventSource::Deployment/What survives which restart>).

=head1 ATTRIBUTES

=head2 notify_signal

    enable 'EventSource', notify_signal => 'URG';

The signal by which an idle worker runs callbacks, on the servers of L<EventSource::XS/notify_signal>; none by default. A
wrong name throws an L<EventSource::Error> where the application is made. An unknown attribute gives a warning.

=head1 METHODS

=head2 new, call, prepare_app

See L<Plack::Middleware>.

=cut
