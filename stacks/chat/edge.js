// Runs at CloudFront before every request of the API (CloudFront Functions, runtime 2.0). It refuses what
// cannot be signed in, so that nobody uses up the rate of API Gateway, or an invocation of the authorizer,
// without the trouble of a token. Whether a token is valid, the authorizer alone decides.
//
// OPEN, BEARER and REFUSAL are set in front of this text by stacks/chat/edge.py.
function handler(event) {
    const request = event.request;
    if (OPEN.indexOf(request.method + ' ' + request.uri) >= 0) {
        return request;
    }
    const authorization = request.headers.authorization;
    // A header that is sent twice has several values: none of them counts.
    if (authorization && !authorization.multiValue && BEARER.test(authorization.value)) {
        return request;
    }
    return REFUSAL;
}
