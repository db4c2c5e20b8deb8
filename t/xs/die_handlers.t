# What the distribution expects to fail does not call the application's handler of $SIG{__DIE__}, which may end the process.
# xt/die_handlers.t looks at every eval.

use lib 't/lib';
use Testing;
use EventSource::Client;
use EventSource::XS::Adapter;
use EventSource::XS::Hub::Member;
use EventSource::XS::ErrorLog;
use EventSource::XS::Settings;
use EventSource::XS::XMPP::Publisher;
use Testing::ControlledProcess;

# What a handler is called with while code runs.
sub heard {
    my $code = shift;
    my @heard;
    local $SIG{__DIE__} = sub { push @heard, "$_[0]" };
    eval { $code->() };
    return @heard;
}

my $listen = Testing::ControlledProcess->listener;
my $closed = 'http://127.0.0.1:' . $listen->sockport . '/';
close $listen;

tie *WITHOUT_NUMBER, 'HandleWithoutNumber';

my %SILENT = (
    'a connection of a client that is refused'  => sub { EventSource::Client->new(url => $closed)->next(0) },
    'a handle of a server without a descriptor' =>
        sub { EventSource::XS::Adapter->client_socket({'psgix.io' => \*WITHOUT_NUMBER}) },
    'a member whose text is not JSON'       => sub { EventSource::XS::Hub::Member->info_of('a', 0, 1, 1, '{') },
    'an event of a channel that is no item' => sub {
        EventSource::XS::XMPP::Publisher->item_of({event => $_, data => '{'}) for qw(message eventsource-xmpp-item);
    },
    'an exception that cannot be made a string' => sub { EventSource::XS::ErrorLog->text_of(bless {}, 'WithoutText') },
);
is_deeply [heard($SILENT{$_})], [], $_ for sort keys %SILENT;

my @heard = heard(sub { EventSource::XS::Settings->new('X')->array(list => 'a', 'names') });
is scalar @heard, 1, 'of a mistake of the caller it hears once';
like $heard[0], qr/list must be an array of names/, 'what the caller is told';

done_testing;

package HandleWithoutNumber;
sub TIEHANDLE { return bless {}, shift }

package WithoutText;
use overload '""' => sub { die "no text\n" };
