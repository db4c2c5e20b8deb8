package Testing::Leaks;
use Testing;

# Tests that calls leave no Perl value behind. Skips the file without Test::LeakTrace.
#
#   leaks_nothing(
#       ['publish' => sub { $hub->publish(a => 'x') }],
#       ['publish without data' => dies(sub { $hub->publish(a => undef) })],
#       ['subscribe' => $code, $before],    # code that runs before
#   );
#
# says($code) is an object whose text is what the code returns.

use Exporter           qw(import);
use Testing::Developer qw(needs_module);

our @EXPORT_OK = qw(dies leaks_nothing says);

package Testing::Leaks::Says {
    use overload '""' => sub { $_[0]->() }, fallback => 1;
}

needs_module('Test::LeakTrace');

# Code whose call must die.
sub dies {
    my $code = shift;
    return sub {
        ok(0) if eval { $code->(); 1 };
        return;
    };
}

sub leaks_nothing {
    for my $case (@_) {
        my ($name, $code, $before) = @$case;
        local $SIG{__WARN__} = sub { };
        $before->() if $before;
        $code->();    # perl keeps what it allocates when code runs for the first time
        Test::LeakTrace::no_leaks_ok(sub { $code->() }, "$name leaks nothing");
    }
    return;
}

sub says {
    my $code = shift;
    return bless $code, 'Testing::Leaks::Says';
}

1;
