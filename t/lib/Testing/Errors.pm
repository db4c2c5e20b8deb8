package Testing::Errors;
use Testing;

# Tests of the exceptions that this distribution throws.
#
#   error_ok('an empty id', invalid => 'id', sub { $hub->publish(a => {id => '', data => 1}) });

use Exporter     qw(import);
use Scalar::Util qw(blessed);

our @EXPORT_OK = qw(error_of error_ok);

# The code of the exception of a call, and its field if it has one.
sub error_of {
    my $call = shift;
    return 'no exception' if eval { $call->(); 1 };
    my $error = $@;
    return blessed $error && $error->isa('EventSource::Error') ? join ' ', $error->code, $error->field // () : $error;
}

# Makes tests that a call dies of an EventSource::Error with this code and this field.
sub error_ok {
    my ($what, $code, $field, $call) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok !eval { $call->(); 1 }, "$what: the call dies" or return;
    my $error = $@;
    is ref $error,    'EventSource::Error', "$what: it dies of an EventSource::Error: $error" or return;
    is $error->code,  $code,                "$what: the code is $code";
    is $error->field, $field,               "$what: the field is " . (defined $field ? $field : 'undef');
    return;
}

1;
