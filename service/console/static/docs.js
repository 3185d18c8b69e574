// Draws the description of the API with what lies beside it: nothing is fetched from elsewhere.
window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
